-- What a span is to its children, decided once for each pair and what came of it (`arrivals`: whether a child is the
-- other side of its call; `has_remote_child`: whether one belongs to another service).
with kinds as (
    select s.stand, s.arrivals, s.has_remote_child, q.is_arrival, c.*, p.service as parent_service,
           p.operation as parent_operation, q.parent_profile is not null as has_parent,
           q.has_parent_id and q.parent_profile is null as is_missing_parent,
           q.parent_profile is null or q.is_foreign as is_entry,
           -- Data without kinds: crossing into another service tells the server from the client.
           cast(case when c.part <> 0 then c.part
                     when q.parent_profile is null or q.is_foreign then 2
                     when s.has_remote_child then 3
                     else 1 end as tinyint) as kind
    from stands s join pairs q on s.pair = q.pair join profiles c on q.profile = c.profile
    left join profiles p on q.parent_profile = p.profile
)
select stand, service, namespace, version, environment, cluster, pod, instance, node, operation, parent_operation,
       parent_service, kind, given_kind, status, is_error, has_parent, is_missing_parent, is_entry, has_remote_child, arrivals > 0 as has_server_child,
       peer, peer_kind,
       -- A producer's call ends at the broker; any other client span without an arrival ends at a virtual node.
       kind in (3, 4) and peer is not null and (kind = 4 or arrivals = 0) as is_open,
       case when kind in (3, 4) and (arrivals > 0 or peer is not null) then null
            when kind not in (3, 4) and is_arrival then null
            when aside is not null then aside
            when kind = 5 then 'consumer-without-broker'
            when kind = 4 then 'producer-without-broker'
            when kind = 3 then 'client-without-peer'
            else 'in-process' end as reason
from kinds order by stand
