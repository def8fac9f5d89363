-- What one span says of itself, from its own columns alone: its identity, its part in a call, whether it failed.
with messaging as (
    select *, messaging_system is not null or messaging_destination is not null as is_messaging,
           lower(messaging_operation) as message_operation
    from raw
),
parts as (
    -- The operation tells a receive or a settlement, which are client spans by convention, from a call outwards.
    select *,
           case when not is_messaging then kind
                when message_operation in ('process', 'deliver') or kind = 5 then 5
                when message_operation in ('create', 'receive', 'settle', 'ack', 'nack') then 1
                when message_operation in ('send', 'publish') or kind in (3, 4) then 4
                else kind end as part,
           case when not is_messaging or kind = 5 then null
                when message_operation in ('create', 'receive') then 'messaging-' || message_operation
                when message_operation in ('settle', 'ack', 'nack') then 'messaging-settle' end as aside
    from messaging
)
select r.* exclude (kind, part, aside, service, name, is_messaging, message_operation, service_namespace,
                    service_version, peer_service, peer_address, db_system, db_name, messaging_system,
                    messaging_destination, messaging_operation, http_status, has_error_type),
       -- A name that several namespaces use is told apart by them, any other stays as its owners know it.
       case when r.service is null then 'unknown_service'
            when a.service is not null and r.service_namespace is not null
            then r.service_namespace || '/' || r.service
            else r.service end as service,
       service_namespace as namespace, service_version as version, name as operation,
       -- A database call needs no kind to be recognised.
       cast(case when part = 0 and (db_system is not null or db_name is not null) then 3 else part end as tinyint)
           as part,
       kind as given_kind, aside,
       status = 2 or status = 0 and coalesce(
           has_error_type or http_status >= 500 or http_status >= 400 and kind = 3, false) as is_error,
       case when is_messaging then coalesce(messaging_destination, peer_service, peer_address, messaging_system)
            else coalesce(peer_service, peer_address, db_name, db_system) end as peer,
       case when is_messaging then 'messaging'
            when db_system in ('redis', 'memcached', 'valkey', 'keydb', 'hazelcast', 'ehcache', 'aerospike') then 'cache'
            when db_system is not null or db_name is not null then 'database'
            else 'external' end as peer_kind
from parts r left join ambiguous a on r.service = a.service
order by r.profile
