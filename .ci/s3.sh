# The steps that try storage-s3 on a production server, and beside other people's clients. Sourced by run.

s3_servers=storage-s3/servers
s3_tools=target/s3-tools

# Tells of what is not tried: on the machine that decides what is merged, a failure.
cannot() {
    echo "SKIPPED: $1"
    [[ ${CI:-} != true ]]
}

# Installs packages of Debian or Ubuntu.
packages() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get) options=(-y --no-install-recommends)
    ((EUID == 0)) || apt=(sudo -n "${apt[@]}")
    "${apt[@]}" install "${options[@]}" "$@" >"$logs/apt" 2>&1 && return
    # The lists of packages may be old, or not be there at all.
    { "${apt[@]}" update && "${apt[@]}" install "${options[@]}" "$@"; } >"$logs/apt" 2>&1 && return
    tail -n 20 "$logs/apt"
    return 1
}

# Clients and a model of AWS, from PyPI, in an environment that is kept for the next time.
install_s3_tools() {
    if ! cmp -s "$s3_servers/requirements.txt" "$s3_tools/requirements.txt"; then
        rm -rf "$s3_tools"
        if ! make_s3_tools >"$logs/pip" 2>&1; then
            tail -n 20 "$logs/pip"
            rm -rf "$s3_tools"
            cannot "awscli, boto3 and moto, which cannot be installed"
            return
        fi
        cp "$s3_servers/requirements.txt" "$s3_tools/requirements.txt"
    fi
    "$s3_tools/bin/pip" list 2>"$logs/pip" | grep -E '^(awscli|boto3|moto) '
}

make_s3_tools() {
    python_environment "$s3_tools" -r "$s3_servers/requirements.txt"
}

# A Python environment in a directory, with packages from PyPI.
python_environment() {
    # Debian has what makes environments in a package of its own.
    python3 -m venv "$1" || { packages python3-venv && python3 -m venv "$1"; } || return
    "$1/bin/pip" install --disable-pip-version-check "${@:2}"
}

has_radosgw() {
    local program
    for program in ceph ceph-mon ceph-osd monmaptool radosgw radosgw-admin curl; do
        command -v "$program" >"$logs/which" || return
    done
}

install_radosgw() {
    if ! has_radosgw && ! { packages ceph-mon ceph-osd radosgw curl && has_radosgw; }; then
        cannot "RadosGW, which cannot be installed"
        return
    fi
    radosgw --version
}

s3_installed() {
    install_s3_tools
    install_radosgw
}

# The test programs of storage-s3 as the tests of the workspace built them: built alone, with other features, it would
# take minutes.
s3_tests() {
    if ! cargo test --workspace --no-run --message-format json >"$logs/built" 2>"$logs/build"; then
        tail -n 50 "$logs/build"
        return 1
    fi
    python3 -c '
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message["executable"]:
        crate = os.path.basename(os.path.dirname(message["manifest_path"]))
        if crate == "storage-s3" and "test" in message["target"]["kind"]:
            print(message["target"]["name"], message["executable"])' <"$logs/built" >"$logs/s3-tests"
    if ! grep -q '^conformance ' "$logs/s3-tests"; then
        echo "storage-s3 has no conformance tests"
        return 1
    fi
}

# Ends the server, if it was started. Also called when the whole run ends before its time.
stop_radosgw() {
    [[ ! -d $logs/radosgw ]] || "$s3_servers/radosgw" down "$logs/radosgw" || true
}

# The cases of the conformance suite that are not tried on a server, and why.
name_skipped_cases() {
    echo "not tried, $2:"
    "$1" --exact "$2::skipped_cases_are_named" --nocapture | sed -n 's/^skipped: /    /p'
}

# Whether a test program has use for what is not in its own process; the others have run.
needs_others() {
    grep -rqE '\bExternal\b|\bmod tools\b' "storage-s3/tests/$1.rs" "storage-s3/tests/$1" 2>"$logs/grep"
}

# In a process of its own, for the sake of its environment.
s3_on_real_servers() (
    trap stop_radosgw EXIT
    if has_radosgw; then
        "$s3_servers/radosgw" up "$logs/radosgw" >"$logs/s3-environment"
        source "$logs/s3-environment"
    fi
    [[ ! -d $s3_tools ]] || export STORAGE_S3_TEST_TOOLS=$PWD/$s3_tools/bin
    s3_tests
    failed=0
    while read -r name program; do
        needs_others "$name" || continue
        # What runs on the server in the tests' own process has run.
        filter=()
        [[ $name != conformance ]] || filter=(external)
        log=$logs/s3-$name
        if ! (cd storage-s3 && "$program" "${filter[@]}" --nocapture --test-threads 4 >"$log" 2>&1); then
            failed=1
            tail -n 100 "$log"
            grep -E -A3 "^test .* FAILED|panicked at" "$log" | cut -c 1-300 | head -n 200 || true
        fi
        echo "$name: $(sed -n "s/^test result: //p" "$log" | tail -n 1)"
        grep -oE "SKIPPED: .*" "$log" | sort -u || true
    done <"$logs/s3-tests"
    conformance=$(sed -n 's/^conformance //p' "$logs/s3-tests")
    name_skipped_cases "$conformance" in_process
    [[ ! -d $logs/radosgw ]] || name_skipped_cases "$conformance" external
    return $failed
)
