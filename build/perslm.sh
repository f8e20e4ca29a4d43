#!/bin/sh
# The command on a machine where PersLM is a service. By root it means the service, with its folders and as its user;
# what writes programs, units or root's files stays root's.
if [ "$(id -u)" -eq 0 ] && [ -z "$PERSLM_DATA_DIR" ] && id perslm >/dev/null 2>&1; then
    export PERSLM_DATA_DIR=/var/lib/perslm PERSLM_MODELS_DIR=/var/lib/perslm/models
    for word in "$@"; do
        case "$word" in
        -*) ;;
        broker | doctor | reset | update) exec /opt/perslm/bin/perslm "$@" ;;
        *) break ;;
        esac
    done
    export HOME=/var/lib/perslm
    exec setpriv --reuid=perslm --regid=perslm --init-groups /opt/perslm/bin/perslm "$@"
fi
exec /opt/perslm/bin/perslm "$@"
