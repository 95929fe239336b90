# The steps that test storage-s3 on a production server and with other clients. Sourced by run.

s3_servers=storage-s3/servers
s3_tools=target/s3-tools
s3_packages=(ceph-mon ceph-osd radosgw curl)

# Reports what is not tested. Fails in CI, where everything has to be tested.
skip() {
    echo "SKIPPED: $1"
    [[ ${CI:-} != true ]]
}

# Installs packages of Debian or Ubuntu.
install_packages() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get) options=(-y --no-install-recommends)
    ((EUID == 0)) || apt=(sudo -n "${apt[@]}")
    "${apt[@]}" install "${options[@]}" "$@" >"$logs/apt" 2>&1 && return
    # The lists of packages may be missing or out of date.
    { "${apt[@]}" update && "${apt[@]}" install "${options[@]}" "$@"; } >"$logs/apt" 2>&1 && return
    tail -n 20 "$logs/apt"
    return 1
}

# Installs S3 clients and a model of AWS from PyPI, in an environment that the next run uses again.
install_s3_tools() {
    if ! cmp -s "$s3_servers/requirements.txt" "$s3_tools/requirements.txt"; then
        rm -rf "$s3_tools"
        if ! make_s3_tools >"$logs/pip" 2>&1; then
            tail -n 20 "$logs/pip"
            rm -rf "$s3_tools"
            skip "awscli, boto3 and moto, because they cannot be installed"
            return
        fi
        cp "$s3_servers/requirements.txt" "$s3_tools/requirements.txt"
    fi
    "$s3_tools/bin/pip" list 2>"$logs/pip" | grep -E '^(awscli|boto3|moto) '
}

make_s3_tools() {
    python_environment "$s3_tools" -r "$s3_servers/requirements.txt"
}

# Creates a Python environment in a directory and installs packages from PyPI in it.
python_environment() {
    # Debian has the module venv in a separate package.
    python3 -m venv "$1" || { install_packages python3-venv && python3 -m venv "$1"; } || return
    "$1/bin/pip" install --disable-pip-version-check "${@:2}"
}

has_radosgw() {
    local program
    for program in ceph ceph-mon ceph-osd monmaptool radosgw radosgw-admin curl; do
        command -v "$program" >"$logs/which" || return
    done
}

install_radosgw() {
    if ! has_radosgw && ! { install_packages "${s3_packages[@]}" && has_radosgw; }; then
        skip "RadosGW, because it cannot be installed"
        return
    fi
    radosgw --version
}

s3_installed() {
    install_s3_tools
    install_radosgw
}

# Lists the test programs of storage-s3 that the step "tests" built with the workspace. To build
# storage-s3 alone would select other features and take minutes.
s3_tests() {
    if ! cargo test --workspace --no-run --message-format json \
        >"$logs/built" 2>"$logs/build"; then
        tail -n 50 "$logs/build"
        return 1
    fi
    python3 -c '
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message["executable"]:
        crate = os.path.basename(os.path.dirname(message["manifest_path"]))
        target = message["target"]
        if crate == "storage-s3" and "test" in target["kind"]:
            print(target["name"], message["executable"])' <"$logs/built" >"$logs/s3-tests"
    if ! grep -q '^conformance ' "$logs/s3-tests"; then
        echo "storage-s3 has no conformance tests"
        return 1
    fi
}

# Starts the server, and exports the variables that name it. That of an earlier step has been
# stopped.
start_radosgw() {
    rm -rf "$logs/radosgw"
    "$s3_servers/radosgw" up "$logs/radosgw" >"$logs/s3-environment"
    source "$logs/s3-environment"
}

# Stops the server if it was started. Also called when the run ends early.
stop_radosgw() {
    [[ ! -d $logs/radosgw ]] || "$s3_servers/radosgw" down "$logs/radosgw" || true
}

# Prints the cases of the conformance suite that do not run on a server, with the reason.
name_skipped_cases() {
    echo "not tested, $2:"
    "$1" --exact "$2::skipped_cases_are_named" --nocapture | sed -n 's/^skipped: /    /p'
}

# Whether a test program uses a server or a client outside its own process. The others have run.
uses_external_programs() {
    grep -rqE '\bExternal\b|\bmod tools\b' \
        "storage-s3/tests/$1.rs" "storage-s3/tests/$1" 2>"$logs/grep"
}

# Runs in a subshell, because it changes the environment.
s3_on_real_servers() (
    trap stop_radosgw EXIT
    ! has_radosgw || start_radosgw
    [[ ! -d $s3_tools ]] || export STORAGE_S3_TEST_TOOLS=$PWD/$s3_tools/bin
    s3_tests
    failed=0
    while read -r name program; do
        uses_external_programs "$name" || continue
        # The cases on the server inside the test process have run in the step "tests".
        filter=()
        [[ $name != conformance ]] || filter=(external)
        log=$logs/s3-$name
        options=("${filter[@]}" --nocapture --test-threads 4)
        if ! (cd storage-s3 && "$program" "${options[@]}" >"$log" 2>&1); then
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
