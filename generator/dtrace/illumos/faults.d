/*
 * faults.d - page faults and page-ins, by zone
 *
 *     dtrace -qs faults.d
 *
 * Probes: vminfo:::as_fault, maj_fault, pgin, pgpgin, anonpgin, execpgin, fspgin.
 * Cost:   one probe a fault, below 1 us: 1 % of a CPU at 10,000 faults a second. as_fault is the frequent one.
 * Keys:   seven a zone.
 * Source: vminfo provider, Dynamic Tracing Guide: arg0 is what the kernel adds to the statistic of that name; the
 *         statistics are those of cpu_vm_stats_t in uts/common/sys/sysinfo.h.
 *
 * Events: as_fault, minor and major faults on an address space; maj_fault, those that waited for I/O; pgin, page-in
 * operations; pgpgin, pages paged in, of which anonpgin, execpgin and fspgin tell the kind: memory that had been pushed
 * out to swap, programs, files. A page-in of a kernel thread counts for the global zone.
 */
#pragma D option strsize=64

vminfo:::as_fault,
vminfo:::maj_fault,
vminfo:::pgin,
vminfo:::pgpgin,
vminfo:::anonpgin,
vminfo:::execpgin,
vminfo:::fspgin
{
	@events[probename, zonename] = sum(arg0);
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037event\037%s\037%@d\037\037%s\037\037.\n", @events);
	trunc(@events);
	printf("\036zonescope\037end\037.\n");
}
