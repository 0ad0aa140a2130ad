/*
 * vfs.d - latency of reads, writes and fsyncs of files, by zone and file system type
 *
 *     dtrace -qs vfs.d
 *
 * Probes: fbt:genunix: fop_read, fop_write, fop_fsync, entry and return.
 * Cost:   two probes a call, about 1 us together: 1 % of a CPU at 10,000 calls a second.
 * Keys:   a distribution for each zone, file system type and operation: three to nine a zone.
 * Source: fop_read, fop_write, fop_fsync in uts/common/fs/vnode.c: the first argument is the vnode_t; vnop_name is
 *         the type's name as vn_make_ops() was told, enum vtype its kind: both in uts/common/sys/vnode.h.
 *         fbt is an unstable interface: these three have kept their arguments since 2005.
 *
 * Regular files, directories and block devices only, as the kstat zone_vfs counts them: a read of a socket lasts as long
 * as the peer wishes. A call may come back into itself (lofs calls the file system below it): the outermost one counts,
 * with the type that the process sees. A thread inside a call as tracing begins has no start and is not counted.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=2m

fbt:genunix:fop_read:entry,
fbt:genunix:fop_write:entry,
fbt:genunix:fop_fsync:entry
/!self->depth && (args[0]->v_type == 1 /* VREG */ || args[0]->v_type == 2 /* VDIR */ || args[0]->v_type == 3 /* VBLK */)/
{
	self->start = timestamp;
	self->type = args[0]->v_op;
}

fbt:genunix:fop_read:entry,
fbt:genunix:fop_write:entry,
fbt:genunix:fop_fsync:entry
{
	self->depth++;
}

fbt:genunix:fop_read:return,
fbt:genunix:fop_write:return,
fbt:genunix:fop_fsync:return
/self->depth/
{
	self->depth--;
}

fbt:genunix:fop_read:return,
fbt:genunix:fop_write:return,
fbt:genunix:fop_fsync:return
/self->start && !self->depth/
{
	@latency[zonename, stringof(self->type->vnop_name), probefunc] =
	    llquantize(timestamp - self->start, 10, 3, 10, 10);
	self->start = 0;
	self->type = 0;
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037vfs_latency\037ns\037%s\037fs=%s\037op=%s\037%@d\037.\n", @latency);
	trunc(@latency);
	printf("\036zonescope\037end\037.\n");
}
