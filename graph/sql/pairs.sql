-- What a span is to its parent, decided once for each pair of profiles (`state`: has the span a parent, recorded or not).
select q.pair, p.service is not null and c.service <> p.service as is_foreign,
       -- A foreign parent makes an arrival whatever the kind says; without a kind, an absent parent does as well.
       (c.part in (2, 5) or c.part = 0 and p.service is null or p.service is not null and c.service <> p.service)
           and c.aside is null
           and not (c.part = 5 and c.peer is null and p.service is null) as is_arrival,
       c.part = 5 and c.peer is not null as has_broker
from pairs q join profiles c on q.profile = c.profile left join profiles p on q.parent_profile = p.profile
order by q.pair
