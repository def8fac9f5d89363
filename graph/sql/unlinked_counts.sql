-- Spans that are no side of a call, by service and reason, in steps of their start.
select start_ns - start_ns % 10000000000 as time_ns, service, reason, count(*) as count
from unlinked
group by start_ns - start_ns % 10000000000, service, reason
