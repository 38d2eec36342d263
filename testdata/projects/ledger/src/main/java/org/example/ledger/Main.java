package org.example.ledger;

import java.io.IOException;
import java.util.Properties;

public final class Main {
    public static void main(String[] arguments) throws IOException {
        Properties entries = new Properties();
        entries.load(Main.class.getResourceAsStream("/ledger.properties"));
        int total = entries.values().stream().mapToInt(value -> Integer.parseInt((String) value)).sum();
        System.out.println(String.join(" ", arguments) + " of " + entries.size() + ": " + total);
    }
}
