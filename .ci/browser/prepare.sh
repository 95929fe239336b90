# Prepares tests in headless Chromium. A test sources this file in the root of the repository and
# calls prepare_browser. Then $chromium is the browser, and $browser a directory where node finds
# puppeteer-core, which the test copies its script to.
#
# Needs node 18 or newer with npm, and Chromium, which is installed if it is missing (Debian).
# Without them the test prints SKIPPED, and fails if CI=true.

find_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

install_chromium() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    ((EUID == 0)) || apt=(sudo -n "${apt[@]}")
    "${apt[@]}" install -y --no-install-recommends chromium && return
    # The lists of packages may be missing or out of date.
    "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends chromium
}

has_node() {
    node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' && command -v npm
}

# prepare_browser NAME SCRATCH: NAME is what the test is about, for the message of a skipped test.
prepare_browser() {
    local name=$1 scratch=$2
    skip() {
        echo "SKIPPED: $name in a browser, because $1"
        [[ ${CI:-} != true ]]
        exit
    }
    if ! has_node >"$scratch/node" 2>&1; then
        skip "there is no node 18 with npm"
    fi
    if ! find_chromium >"$scratch/which" &&
        ! { install_chromium && find_chromium >"$scratch/which"; } >"$scratch/apt" 2>&1; then
        tail -n 20 "$scratch/apt"
        skip "Chromium cannot be installed"
    fi
    chromium=$(head -n 1 "$scratch/which")

    browser=target/browser-tests
    mkdir -p "$browser"
    if ! cmp -s .ci/browser/package.json "$browser/installed"; then
        cp .ci/browser/package.json "$browser/"
        if ! npm install --prefix "$browser" --ignore-scripts --no-package-lock --no-audit \
            --no-fund >"$scratch/npm" 2>&1; then
            tail -n 20 "$scratch/npm"
            skip "puppeteer-core cannot be installed"
        fi
        cp .ci/browser/package.json "$browser/installed"
    fi
}
