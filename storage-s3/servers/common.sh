# What the scripts beside this file share. Sourced, not run.

# Loopback ports that nobody listens on, on one line.
free_ports() {
    python3 -c '
import socket, sys
# All are held until all are known, so that none comes twice.
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(socket.getsockname()[1] for socket in held))' "$1"
}

needs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$program is not installed; see README.md beside $0" >&2; exit 2; }
    done
}

# Waits until an HTTP server answers, whatever it says.
await_answer() {
    local url=$1 directory=$2
    for _ in $(seq 300); do
        curl -so /dev/null "$url" && return
        sleep 0.1
    done
    echo "no answer from $url; its log is in $directory" >&2
    return 1
}

# Makes a bucket. With the old signature, which is short; that of curl does not count the port in.
make_bucket() {
    python3 - "$@" <<'END'
import base64, email.utils, hashlib, hmac, sys, urllib.request
endpoint, bucket, key, secret = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
digest = hmac.digest(secret.encode(), f"PUT\n\n\n{date}\n/{bucket}".encode(), hashlib.sha1)
authorization = f"AWS {key}:{base64.b64encode(digest).decode()}"
headers = {"Date": date, "Authorization": authorization}
urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", headers=headers)).close()
END
}

# Makes the bucket and prints what the tests have to know of the server.
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
    # Numbers of processes are used again: it is ended only if it is still what was started.
    is_there() { [[ -r /proc/$pid/cmdline ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$program"; }
    is_there || return 0
    kill "$pid"
    for _ in $(seq 100); do
        is_there || return 0
        sleep 0.1
    done
    echo "$program ($pid) does not end, so it is killed" >&2
    kill -9 "$pid"
}
