/*
 * proc.d - processes and threads made, programs executed, processes ended, by zone
 *
 *     dtrace -qs proc.d
 *
 * Probes: proc:::create, exec-success, exec-failure, exit, lwp-create, signal-send.
 * Cost:   one probe an event, below 1 us: nothing beside the fork(2) or exec(2) that it counts.
 * Keys:   six a zone.
 * Source: proc provider, Dynamic Tracing Guide.
 *
 * A process that lives for a tenth of a second is in no snapshot of /proc; here it is counted. signal-send counts for
 * the zone of the sender.
 */
#pragma D option strsize=64

proc:::create,
proc:::exec-success,
proc:::exec-failure,
proc:::exit,
proc:::lwp-create,
proc:::signal-send
{
	@events[probename, zonename] = count();
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037event\037proc_%s\037%@d\037\037%s\037\037.\n", @events);
	trunc(@events);
	printf("\036zonescope\037end\037.\n");
}
