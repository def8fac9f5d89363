-- Calls by edge and step of the caller's start.
select start_ns - start_ns % 10000000000 as time_ns, caller, callee, callee_kind,
       count(*) as count, cast(sum(adjusted_milli) as bigint) as adjusted_milli,
       count(*) filter (client_error or server_error) as errors,
       count(*) filter (client_error) as client_errors,
       count(*) filter (server_error) as server_errors,
       count(client_span_id) as client_count, count(server_span_id) as server_count,
       count(*) filter (matched = 'missing-parent') as missing_parents,
       caller_kind,
       histogram_of(client_duration_ns) as client_duration,
       histogram_of(server_duration_ns) as server_duration,
       histogram_of(client_duration_ns - server_duration_ns) as gap,
       histogram_of(queue_ns) as queue
from calls
group by start_ns - start_ns % 10000000000, caller, callee, callee_kind, caller_kind
