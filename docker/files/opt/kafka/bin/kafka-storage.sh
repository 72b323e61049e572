#!/bin/sh
exec odradek storage "$@"
