-- A call as its arrival tells it, decided once for each combination of the arriving and the calling span.
with told as (
    select m.meeting, m.is_repeat, c.service, c.operation, c.pod, c.is_error, p.is_error as caller_is_error,
           p.service as caller_service, p.operation as caller_operation, p.pod as caller_pod,
           -- A client span with a foreign parent stands for the server span that is missing between the two.
           s.kind in (3, 4) as is_stand_in, m.parent_stand is not null as has_parent, q.has_parent_id,
           h.kind in (3, 4) as is_called, h.kind = 4 as is_sent,
           case when s.kind = 5 and c.peer is not null then c.peer
                when h.kind = 4 and p.peer is not null then p.peer end as broker
    from meetings m
    join stands s on m.stand = s.stand join pairs q on s.pair = q.pair join profiles c on q.profile = c.profile
    left join stands h on m.parent_stand = h.stand left join pairs o on h.pair = o.pair
    left join profiles p on o.profile = p.profile
),
sided as (
    select *, coalesce(is_called, false) and broker is null and not is_repeat as has_client from told
)
select meeting, has_client, not is_stand_in as has_server,
       case when broker is not null then broker when has_parent then caller_service else 'external' end as caller,
       case when broker is not null then 'messaging' when has_parent then 'service' else 'external' end as caller_kind,
       service as callee, 'service' as callee_kind,
       case when has_client then caller_operation end as client_operation, operation,
       case when has_parent then caller_pod end as caller_pod, pod as callee_pod,
       has_client and caller_is_error as client_error, not is_stand_in and is_error as server_error,
       coalesce(is_sent, false) and broker is not null as is_queued,
       case when broker is not null then 'consumer'
            when not has_parent and has_parent_id then 'missing-parent'
            when not has_parent then 'server-only'
            when is_called and is_repeat then 'repeat'
            when is_stand_in then 'no-server-span'
            when has_client then 'pair'
            else 'no-client-span' end as matched
from sided order by meeting
