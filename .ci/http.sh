# Installs the servers and clients that storage-http and storage-http-cache are tested with.
# Sourced by run, after s3.sh.

http_tools=target/http-tools
http_packages=(nginx-light libnginx-mod-http-dav-ext apache2-bin)

# Installs nginx with WebDAV, Apache, the original Python client of the cache tier, and Flask.
http_installed() {
    local program missing=
    for program in nginx apache2; do
        command -v "$program" >"$logs/which" || missing=$program
    done
    if [[ -n $missing || ! -e /usr/lib/nginx/modules/ngx_http_dav_ext_module.so ]]; then
        install_packages "${http_packages[@]}" ||
            skip "nginx and Apache, because they cannot be installed"
    fi
    nginx -v 2>&1 || true
    if ! [[ -x $http_tools/bin/python ]]; then
        if ! python_environment "$http_tools" cache_tier==1.0.4 flask >"$logs/pip" 2>&1; then
            tail -n 20 "$logs/pip"
            rm -rf "$http_tools"
            skip "the original client of the cache tier, because it cannot be installed"
            return
        fi
    fi
    export STORAGE_HTTP_TEST_PYTHON=$PWD/$http_tools/bin/python
}
