#!/bin/sh
exec odradek container kafka-topics "$@"
