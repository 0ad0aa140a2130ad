/*
 * tcp.d - TCP connect and first-byte latency, retransmits, refused connections, by zone
 *
 *     dtrace -qs tcp.d
 *
 * Probes: tcp:::connect-request, connect-established, connect-refused, accept-established, accept-refused, send, receive.
 * Cost:   one probe a segment, below 1 us: 1 % of a CPU at 10,000 segments a second. A host that moves millions of
 *         segments a second should leave this program out.
 * Keys:   three distributions and three events a zone. A connection costs a dynamic variable until its first byte.
 * Source: tcp provider: lib/libdtrace/common/tcp.d.in (tcpinfo_t, tcpsinfo_t, tcps_retransmit), ip.d.in (ipinfo_t);
 *         conn_cred in uts/common/inet/ipclassifier.h, cr_zone in uts/common/sys/cred_impl.h.
 *
 * Segments arrive in the context of whatever thread runs, so that zonename says nothing here. Nor does cs_zoneid: in a
 * zone with an exclusive IP stack, which is every zone on SmartOS, it is 0. The credential of the connection names the
 * zone that opened it, in either kind of stack.
 *
 * tcp_connect: from SYN to established, for connections opened from here. tcp_first_byte: from established to the first
 * byte of data received (side=client: opened from here) or sent (side=server: accepted here, so that it includes the
 * time that the client took to ask and the server took to answer).
 */
#pragma D option strsize=64
#pragma D option dynvarsize=4m

inline string zone_of[tcp_t *tcp] = stringof(tcp->tcp_connp->conn_cred->cr_zone->zone_name);

tcp:::connect-request
{
	syn[(uint64_t)arg3] = timestamp;
}

tcp:::connect-established
/syn[(uint64_t)arg3]/
{
	@connect[zone_of[(tcp_t *)arg3]] = llquantize(timestamp - syn[(uint64_t)arg3], 10, 3, 11, 10);
	syn[(uint64_t)arg3] = 0;
	client[(uint64_t)arg3] = timestamp;
}

tcp:::connect-refused
/arg3 != 0/
{
	@refused["connect", zone_of[(tcp_t *)arg3]] = count();
	syn[(uint64_t)arg3] = 0;
}

tcp:::accept-refused
/arg3 != 0/
{
	@refused["accept", zone_of[(tcp_t *)arg3]] = count();
}

tcp:::accept-established
{
	server[(uint64_t)arg3] = timestamp;
}

/* Data is what the segment holds beyond its TCP header. */
tcp:::receive
/arg3 != 0 && client[(uint64_t)arg3] && args[2]->ip_plength > args[4]->tcp_offset/
{
	@first[zone_of[(tcp_t *)arg3], "client"] = llquantize(timestamp - client[(uint64_t)arg3], 10, 3, 11, 10);
	client[(uint64_t)arg3] = 0;
}

tcp:::send
/arg3 != 0 && server[(uint64_t)arg3] && args[2]->ip_plength > args[4]->tcp_offset/
{
	@first[zone_of[(tcp_t *)arg3], "server"] = llquantize(timestamp - server[(uint64_t)arg3], 10, 3, 11, 10);
	server[(uint64_t)arg3] = 0;
}

tcp:::send
/arg3 != 0 && args[3]->tcps_retransmit/
{
	@retransmit[zone_of[(tcp_t *)arg3]] = count();
}

/* A connection that ends before its first byte leaves nothing behind. */
tcp:::state-change
/args[3]->tcps_state == TCP_STATE_CLOSED || args[3]->tcps_state == TCP_STATE_TIME_WAIT/
{
	syn[(uint64_t)arg3] = 0;
	client[(uint64_t)arg3] = 0;
	server[(uint64_t)arg3] = 0;
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037tcp_connect\037ns\037%s\037%@d\037.\n", @connect);
	printa("\036zonescope\037dist\037tcp_first_byte\037ns\037%s\037side=%s\037%@d\037.\n", @first);
	printa("\036zonescope\037event\037tcp_retransmit\037%@d\037\037%s\037\037.\n", @retransmit);
	printa("\036zonescope\037event\037tcp_%s_refused\037%@d\037\037%s\037\037.\n", @refused);
	trunc(@connect);
	trunc(@first);
	trunc(@retransmit);
	trunc(@refused);
	printf("\036zonescope\037end\037.\n");
}
