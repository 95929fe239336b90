# Functions that the scripts in this directory share. Sourced, not run.

# Prints free loopback ports on one line.
free_ports() {
    python3 -c '
import socket, sys
# All stay open until all are known, so that no port is printed twice.
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(socket.getsockname()[1] for socket in held))' "$1"
}

needs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null && continue
        echo "$program is not installed; see README.md in the directory of $0" >&2
        exit 2
    done
}

# Waits until an HTTP server responds with any status.
await_response() {
    local url=$1 directory=$2
    for _ in $(seq 300); do
        curl -so /dev/null "$url" && return
        sleep 0.1
    done
    echo "no response from $url; its log is in $directory" >&2
    return 1
}

# Creates a bucket. Uses signature version 2, which is short. The signature of curl omits the port.
make_bucket() {
    python3 - "$@" <<'END'
import base64, email.utils, hashlib, hmac, sys, urllib.request
endpoint, bucket, key, secret = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
digest = hmac.digest(secret.encode(), f"PUT\n\n\n{date}\n/{bucket}".encode(), hashlib.sha1)
authorization = f"AWS {key}:{base64.b64encode(digest).decode()}"
headers = {"Date": date, "Authorization": authorization}
request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", headers=headers)
urllib.request.urlopen(request).close()
END
}

# Creates the bucket and prints the environment that names the server to the tests.
announce() {
    local endpoint=$1 quirks=$2 key=$3 secret=$4 bucket=anystorage
    make_bucket "$endpoint" "$bucket" "$key" "$secret"
    cat <<END
export STORAGE_S3_TEST_ENDPOINT=$endpoint
export STORAGE_S3_TEST_BUCKET=$bucket
export STORAGE_S3_TEST_QUIRKS=$quirks
export AWS_ACCESS_KEY_ID=$key
export AWS_SECRET_ACCESS_KEY=$secret
export AWS_REGION=us-east-1
END
}

# Ends the program whose process id is in the file, and waits until it has ended.
stop() {
    local file=$1 program=$2 pid
    [[ -f $file ]] || return 0
    pid=$(<"$file")
    # Process ids are reused: the process is ended only if it still runs the program.
    is_running() {
        [[ -r /proc/$pid/cmdline ]] &&
            tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$program"
    }
    is_running || return 0
    kill "$pid"
    for _ in $(seq 100); do
        is_running || return 0
        sleep 0.1
    done
    echo "$program ($pid) does not end: killing it" >&2
    kill -9 "$pid"
}
