# Sourced by scripts that start control planes in a folder of their own.

# end_sandboxes FOLDER ends all sandboxes of such a script, and deletes its folder. Control planes that do not end keep the
# folder: it has the only record by which they can be found. A second Ctrl-C does not stop it halfway.
end_sandboxes() {
  trap '' INT TERM
  if [[ -d $KUBECTL_CELL_HOME ]] && ! kubectl-cell sandbox down --all; then
    printf 'error: control planes were not ended; what is known of them is in %s\n' "$1" >&2
    printf '  hint: KUBECTL_CELL_HOME=%q KUBECONFIG=%q %q sandbox down --all && rm -r %q\n' \
      "$KUBECTL_CELL_HOME" "$KUBECONFIG" "$(type -P kubectl-cell)" "$1" >&2
    return 1
  fi
  rm -rf "$1"
}
