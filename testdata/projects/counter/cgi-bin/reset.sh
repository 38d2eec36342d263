#!/bin/sh
echo 0 > /var/lib/counter/count
printf 'Content-Type: text/plain\r\n\r\nreset\n'
