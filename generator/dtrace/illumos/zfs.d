/*
 * zfs.d - latency of ZFS as a zone sees it, and how long ZFS holds the zone back
 *
 *     dtrace -qs zfs.d
 *
 * Probes: fbt:zfs: zfs_read, zfs_write, zfs_fsync, zil_commit, dmu_tx_wait, entry and return.
 * Cost:   two to six probes a call, about 1 us a pair: 1 % of a CPU at 10,000 calls a second.
 * Keys:   five distributions a zone.
 * Source: uts/common/fs/zfs/zfs_vnops.c, zil.c, dmu_tx.c of illumos-gate. fbt is an unstable interface; a host without
 *         one of these functions shows this program as unavailable, and the others go on.
 *
 * All of them run in the thread of the process, so that zonename is the zone that waits. zil_commit: waiting for the
 * intent log, which is what makes an fsync or a synchronous write slow. dmu_tx_wait: the write throttle delays the zone,
 * or it waits for the next transaction group: somebody, perhaps somebody else, writes faster than the pool can.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=2m

fbt:zfs:zfs_read:entry,
fbt:zfs:zfs_write:entry,
fbt:zfs:zfs_fsync:entry
{
	self->call = timestamp;
}

fbt:zfs:zfs_read:return,
fbt:zfs:zfs_write:return,
fbt:zfs:zfs_fsync:return
/self->call/
{
	@latency[zonename, probefunc] = llquantize(timestamp - self->call, 10, 3, 10, 10);
	self->call = 0;
}

fbt:zfs:zil_commit:entry
{
	self->commit = timestamp;
}

fbt:zfs:zil_commit:return
/self->commit/
{
	@latency[zonename, probefunc] = llquantize(timestamp - self->commit, 10, 3, 10, 10);
	self->commit = 0;
}

fbt:zfs:dmu_tx_wait:entry
{
	self->throttle = timestamp;
}

fbt:zfs:dmu_tx_wait:return
/self->throttle/
{
	@latency[zonename, probefunc] = llquantize(timestamp - self->throttle, 10, 3, 10, 10);
	self->throttle = 0;
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037zfs_latency\037ns\037%s\037op=%s\037%@d\037.\n", @latency);
	trunc(@latency);
	printf("\036zonescope\037end\037.\n");
}
