#!/bin/sh
count=$(($(cat /var/lib/counter/count) + 1))
echo $count > /var/lib/counter/count
printf 'Content-Type: text/plain\r\n\r\n%s\n' $count
