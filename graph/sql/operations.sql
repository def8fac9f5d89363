-- Spans by service, operation and kind, in steps of their start.
select start_ns - start_ns % 10000000000 as time_ns, service, operation, kind,
       count(*) as count, cast(sum(adjusted_milli) as bigint) as adjusted_milli,
       count(*) filter (is_error) as errors,
       count(*) filter (parent_span_id is not null and not has_parent) as missing_parents,
       histogram_of(duration_ns) as duration,
       histogram_of(exclusive_ns) as exclusive
from visits
group by start_ns - start_ns % 10000000000, service, operation, kind
