-- Spans by service and replica, in steps of their start; requests are those that entered from elsewhere.
select start_ns - start_ns % 10000000000 as time_ns, service, namespace, pod, instance, node,
       count(*) as count, cast(sum(adjusted_milli) as bigint) as adjusted_milli,
       count(*) filter (is_entry) as requests,
       count(*) filter (is_entry and is_error) as errors,
       histogram_of(case when is_entry then duration_ns end) as duration,
       histogram_of(exclusive_ns) as exclusive
from visits
group by start_ns - start_ns % 10000000000, service, namespace, pod, instance, node
