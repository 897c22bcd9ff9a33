#!/usr/bin/env bash
# Makes the folder that is deployed: the function with Pillow, boto3 and the shared
# libraries that Pillow needs, from Debian's packages python3-pil and python3-boto3.
# With a network, `pip install --target DIR pillow boto3` does the same.
set -euo pipefail
out=${1:?usage: package.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)
debian=/usr/lib/python3/dist-packages

mkdir -p "$out/lib" "$out/botocore"
cp "$here/app.py" "$out/"
cp "$here/mayfly.toml" "$out/"
cp -rL "$debian"/{PIL,boto3,s3transfer,jmespath,dateutil,urllib3,requests,charset_normalizer,chardet,idna,certifi,six.py} "$out/"

# botocore describes each of AWS's services, 80 MB in all: S3 is enough.
(cd "$debian/botocore" && tar -c --exclude=./data .) | tar -x -C "$out/botocore"
mkdir "$out/botocore/data"
cp -r "$debian"/botocore/data/{s3,*.json} "$out/botocore/data/"

# Only what reads and writes pictures: no fonts, no windows.
rm -f "$out"/PIL/_imaging{ft,cms,tk}.*
find "$out" -name __pycache__ -prune -exec rm -r {} +
for lib in $(ldd "$out"/PIL/_imaging.*.so | awk '$2 == "=>" {print $3}'); do
  case ${lib##*/} in
  libc.so.* | libm.so.*) ;; # the interpreter's own
  *) cp -L "$lib" "$out/lib/" ;;
  esac
done
