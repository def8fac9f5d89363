-- What a call is, for every way in which its two spans may stand. A side is a kind and whether the span names a peer;
-- `relation` is that of the arriving span to its parent, as in stands.sql, and null where nothing arrives.
with kinds(kind) as (values (0), (1), (2), (3), (4), (5)),
peers(has_peer) as (values (false), (true)),
sides as (select kind * 2 + cast(has_peer as integer) as side, kind, has_peer from kinds cross join peers),
relations(relation) as (values (0), (1), (2), (3)),
repeats(is_repeat) as (values (false), (true)),
told as (
    select c.side, r.relation, p.side as parent_side, a.is_repeat,
           -- A client span with a foreign parent stands for the server span that is missing between the two.
           c.kind in (3, 4) as is_stand_in, p.side is not null as has_parent, r.relation = 1 as is_missing_parent,
           coalesce(p.kind in (3, 4), false) as is_called, coalesce(p.kind = 4, false) as is_sent,
           case when c.kind = 5 and c.has_peer then 'peer of callee'
                when p.kind = 4 and p.has_peer then 'peer of caller' end as broker
    from sides c cross join relations r cross join repeats a left join sides p on r.relation >= 2
),
arrivals as (
    select *, is_called and broker is null and not is_repeat as has_client from told
)
select side, relation, parent_side, is_repeat, false as is_further, true as is_arrival, has_client, not is_stand_in as has_server,
       case when broker is not null then broker when has_parent then 'caller' else 'external' end as caller,
       case when broker is not null then 'messaging' when has_parent then 'service' else 'external' end as caller_kind,
       'callee' as callee, 'service' as callee_kind, is_sent and broker is not null as is_queued,
       broker is not null as is_consumed,
       case when broker is not null then 'consumer'
            when is_missing_parent then 'missing-parent'
            when not has_parent then 'server-only'
            when is_called and is_repeat then 'repeat'
            when is_stand_in then 'no-server-span'
            when has_client then 'pair'
            else 'no-client-span' end as matched
from arrivals
union all
-- Another message that the same span consumed: a call of its own, the span being a side of the first.
select side, relation, parent_side, false, true, true, false, false, broker, 'messaging', 'callee', 'service', false,
       false, 'linked'
from arrivals where broker is not null and not is_repeat
union all
-- A call that only its client side tells, then standing for both spans, ends at the peer that it names.
select side, null, null, false, false, false, true, false, 'caller', 'service', 'peer of callee', null, false, false,
       case when kind = 4 then 'producer' else 'client-only' end
from sides
