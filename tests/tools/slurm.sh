#!/usr/bin/env bash
# A real SLURM of one node, on this machine, for as long as a command runs:
#   sudo bash tests/tools/slurm.sh .venv/bin/python -m pytest -m slurm
# Its daemons keep everything in a folder of their own, which goes with them.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: bash tests/tools/slurm.sh COMMAND [ARGUMENT ...]"; exit 2; }
[ "$(id -u)" = 0 ] || { echo "needs root: SLURM's daemons start jobs"; exit 2; }
for program in munged mariadbd slurmdbd slurmctld slurmd; do
  command -v $program > /dev/null || {
    echo "$program is missing: apt-get install slurm-wlm slurmdbd munge mariadb-server, on a machine to throw away"
    exit 2
  }
done

dir=$(mktemp -d) host=$(hostname -s) pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null && wait "$pid" 2> /dev/null; done || true
  rm -rf "$dir"
}
trap stop EXIT
start() {  # NAME COMMAND...: a daemon in the foreground, its messages in a file
  "${@:2}" > "$dir/$1.log" 2>&1 &
  pids=($! "${pids[@]}")
}
until_ready() {  # NAME COMMAND...: wait until it succeeds
  for _ in $(seq 60); do "${@:2}" > /dev/null 2>&1 && return; sleep 1; done
  echo "$1 did not start:"; tail -5 "$dir/$1.log"; exit 1
}

mkdir -m 755 "$dir"/{munge,sql,state,spool}
chmod 755 "$dir"
head -c 1024 /dev/urandom > "$dir/munge/key" && chmod 600 "$dir/munge/key"
mkdir -p -m 755 /run/munge  # the one place where sacct looks for its socket
start munged munged --foreground --force --key-file "$dir/munge/key" --pid-file "$dir/munge/pid" \
  --log-file "$dir/munge/log" --seed-file "$dir/munge/seed"

mariadb-install-db --user=root --datadir="$dir/sql" --auth-root-authentication-method=normal > "$dir/install.log" 2>&1
start mariadbd mariadbd --no-defaults --user=root --datadir="$dir/sql" --socket="$dir/sql.socket" \
  --bind-address=127.0.0.1 --port=16818 --skip-name-resolve --innodb-lock-wait-timeout=900
sql() { mariadb --no-defaults --socket="$dir/sql.socket" "$@"; }
until_ready mariadbd sql -e "SELECT 1"
sql -e "CREATE USER slurm@127.0.0.1 IDENTIFIED BY 'lab'; GRANT ALL ON slurm.* TO slurm@127.0.0.1"

cat > "$dir/slurmdbd.conf" << END
AuthType=auth/munge
DbdHost=$host
DbdPort=16819
SlurmUser=root
PidFile=$dir/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=16818
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm
END
chmod 600 "$dir/slurmdbd.conf"
# No binding to cores: a job of one CPU then sees all of them, as on many clusters.
cat > "$dir/slurm.conf" << END
ClusterName=lab
SlurmctldHost=$host
SlurmctldPort=16817
SlurmdPort=16820
AuthType=auth/munge
SlurmUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MinJobAge=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$host
AccountingStoragePort=16819
JobAcctGatherType=jobacct_gather/none
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$dir/slurm.conf
start slurmdbd slurmdbd -D
until_ready slurmdbd sacctmgr -n list cluster
sacctmgr -i add cluster lab > /dev/null 2>&1 || true
start slurmctld slurmctld -D
until_ready slurmctld scontrol ping
start slurmd slurmd -D -N "$host"
until_ready slurmd sh -c "sinfo -h -o %t | grep -q idle"
echo "$(sinfo --version): one node, $(nproc) CPUs"
"$@"
