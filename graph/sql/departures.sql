-- A call that only its client side tells.
select s.stand as meeting, true as has_client, false as has_server, c.service as caller, 'service' as caller_kind,
       c.peer as callee, c.peer_kind as callee_kind, c.operation as client_operation, c.operation,
       c.pod as caller_pod, cast(null as varchar) as callee_pod, c.is_error as client_error, false as server_error,
       false as is_queued, case when s.kind = 4 then 'producer' else 'client-only' end as matched
from stands s join pairs q on s.pair = q.pair join profiles c on q.profile = c.profile
order by s.stand
