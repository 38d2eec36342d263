#!/bin/sh
sed "s/@port@/$NGINX_PORT/" /etc/nginx/templates/nginx.conf.template > /etc/nginx/nginx.conf
