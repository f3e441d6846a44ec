#!/bin/sh
# Ends what the service helper started. Every process of a service either works in the service's folder (PostgreSQL
# overwrites its environment) or carries WAL2RABBIT_KEEPER_FOLDER in its environment (epmd leaves the folder).
#
#   keeper.sh watch                reads folders from standard input; when it closes, because the runner ended in
#                                  whatever way, removes them all
#   keeper.sh kill FOLDER          SIGKILL until no process is left
#   keeper.sh remove FOLDER        kill, then remove the folder
#   keeper.sh signal NAME FOLDER   one signal to each process
set -u

processes_of() {
  if [ -d /proc/self ]; then
    {
      find /proc -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null
      grep -lszxF "WAL2RABBIT_KEEPER_FOLDER=$1" /proc/[0-9]*/environ 2>/dev/null
    } | cut -d/ -f3 | sort -u
  else
    FOLDER=$1 ps -A -o pid=,command= | FOLDER=$1 awk 'index($0, ENVIRON["FOLDER"]) && !/keeper\.sh/ { print $1 }'
  fi
}

kill_all() {
  round=0
  while pids=$(processes_of "$1") && [ -n "$pids" ]; do
    round=$((round + 1))
    if [ "$round" -gt 200 ]; then
      echo "processes of $1 outlive SIGKILL:" $pids >&2
      return 1
    fi
    kill -9 $pids 2>/dev/null
    sleep 0.05
  done
}

remove() {
  kill_all "$1" || return 1
  # A killed postmaster leaves its System V segment; line 7 of its pid file names it: "key id".
  if [ -f "$1/data/postmaster.pid" ]; then
    segment=$(sed -n 7p "$1/data/postmaster.pid" | awk '{ print $2 }')
    [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
  fi
  rm -rf "$1"
}

case "$1" in
  watch)
    trap '' INT TERM HUP
    folders=''
    while IFS= read -r folder; do
      folders="$folders$folder
"
    done
    printf '%s' "$folders" | while IFS= read -r folder; do
      [ ! -d "$folder" ] || remove "$folder"
    done
    ;;
  kill) kill_all "$2" ;;
  remove) remove "$2" ;;
  signal)
    pids=$(processes_of "$3")
    # One that has just ended by itself is no failure.
    for pid in $pids; do kill -"$2" "$pid" 2>/dev/null || [ ! -d "/proc/$pid" ] || exit 1; done
    ;;
esac
