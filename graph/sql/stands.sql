-- What a span is to its parent and to its children. `class` is all that rules read of one span, `relation` how its parent
-- is related to it, `has_remote_child` whether a child belongs to another service, `is_answered` whether a child is the
-- other side of its call. Every combination is decided once, spans look theirs up.
with relations(relation, names_parent, has_parent, is_foreign) as (
    values (0, false, false, false), (1, true, false, false), (2, true, true, false), (3, true, true, true)
),
flags(flag) as (values (false), (true)),
combinations as (
    select c.*, r.*, remote.flag as has_remote_child, answered.flag as is_answered,
           -- A foreign parent makes an arrival whatever the kind says; without a kind, an absent parent does as well.
           (c.part in (2, 5) or c.part = 0 and not r.has_parent or r.is_foreign)
               and c.aside is null
               and not (c.part = 5 and not c.has_peer and not r.has_parent) as is_arrival,
           -- Data without kinds: crossing into another service tells the server from the client.
           cast(case when c.part <> 0 then c.part
                     when not r.has_parent or r.is_foreign then 2
                     when remote.flag then 3
                     else 1 end as tinyint) as kind
    from classes c cross join relations r cross join flags remote cross join flags answered
)
select kind, has_peer, relation, has_parent, names_parent and not has_parent as is_missing_parent,
       not has_parent or is_foreign as is_entry, is_foreign, has_remote_child, is_answered as has_server_child,
       is_arrival,
       -- What arrives through a broker is no answer to its sender.
       is_arrival and not (part = 5 and has_peer) as is_answer,
       -- A producer's call ends at the broker; any other client span without an arrival ends at a virtual node.
       kind in (3, 4) and has_peer and (kind = 4 or not is_answered) as is_open,
       case when kind in (3, 4) and (is_answered or has_peer) then null
            when kind not in (3, 4) and is_arrival then null
            when aside is not null then aside
            when kind = 5 then 'consumer-without-broker'
            when kind = 4 then 'producer-without-broker'
            when kind = 3 then 'client-without-peer'
            else 'in-process' end as reason
from combinations order by class, relation, has_remote_child, is_answered
