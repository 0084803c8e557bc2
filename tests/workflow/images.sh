#!/usr/bin/env bash
# The images of the checkout for the tests, on the base image that this machine has, with its CA bundle and pip settings.
set -euo pipefail
cd "$(dirname "$0")/../.."
options="--network host -v /etc/ssl/certs:/etc/ssl/certs:ro"
[[ ! -f /etc/pip.conf ]] || options+=" -v /etc/pip.conf:/etc/pip.conf:ro"
BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:bookworm-slim} BUILD_OPTIONS=${BUILD_OPTIONS:-$options} UNLISTED=learn \
    make --silent images
