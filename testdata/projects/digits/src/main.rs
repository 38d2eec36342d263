fn main() {
    let mut buffer = itoa::Buffer::new();
    for argument in std::env::args().skip(1) {
        let number: u64 = argument.parse().expect("a number");
        println!("{} has {} digits", number, buffer.format(number).len());
    }
}

#[test]
fn ten_has_two() {
    assert_eq!(itoa::Buffer::new().format(10).len(), 2);
}
