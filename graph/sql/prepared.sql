-- What one span says of itself, from its own columns alone: its identity, its part in a call, whether it failed.
with known as (
    select * exclude (service), coalesce(service, 'unknown_service') as service from raw
),
-- A name that several namespaces use is told apart by them, any other stays as its owners know it; so it is with
-- environments and clusters after them (hypocenter.graph.node_names).
spaced as (
    select * exclude (service),
           case when min(service_namespace) over (partition by service)
                     < max(service_namespace) over (partition by service)
                then coalesce(service_namespace || '/', '') || service
                else service end as service
    from known
),
placed as (
    select * exclude (service),
           case when min(environment) over (partition by service) < max(environment) over (partition by service)
                then service || coalesce('@' || environment, '')
                else service end as service
    from spaced
),
named as (
    select * exclude (service),
           case when min(cluster) over (partition by service) < max(cluster) over (partition by service)
                then service || coalesce('@' || cluster, '')
                else service end as service
    from placed
),
messaging as (
    select *, messaging_system is not null or messaging_destination is not null as is_messaging,
           coalesce(messaging_destination, peer_service, peer_address, messaging_system) as destination,
           lower(messaging_operation) as message_operation
    from named
),
parts as (
    -- The operation tells a receive or a settlement, which are client spans by convention, from a call outwards.
    select *,
           case when not is_messaging then kind
                when message_operation in ('process', 'deliver') or kind = 5 then 5
                when message_operation in ('create', 'receive', 'settle', 'ack', 'nack') then 1
                when message_operation in ('send', 'publish') or kind in (3, 4) then 4
                else kind end as own_part,
           case when not is_messaging or kind = 5 then null
                when message_operation in ('create', 'receive') then 'messaging-' || message_operation
                when message_operation in ('settle', 'ack', 'nack') then 'messaging-settle' end as own_aside
    from messaging
),
processing as (
    select distinct service, destination from parts where is_messaging and own_part = 5
),
told as (
    -- A service that receives from a destination, and has no span that processes what it received, consumes by receiving.
    select p.*, own_aside = 'messaging-receive' and c.service is null as is_consuming,
           case when is_consuming then 5
                -- A database call needs no kind to be recognised.
                when own_part = 0 and (db_system is not null or db_name is not null) then 3
                else own_part end as part,
           case when is_consuming then null else own_aside end as aside
    from parts p left join processing c on p.service = c.service and p.destination = c.destination
)
select profile, spans, service, service_namespace as namespace, service_version as version, environment, cluster, pod,
       instance, node, name as operation, cast(part as tinyint) as part, kind as given_kind, aside, status,
       status = 2 or status = 0 and coalesce(
           has_error_type or http_status >= 500 or http_status >= 400 and kind = 3, false) as is_error,
       -- Whatever its kind of failure, who gave up waiting says so by the error's type, and a proxy by its answer.
       coalesce(has_timeout_type or http_status in (408, 504), false) as is_timeout,
       case when http_status between 400 and 499 then 4 when http_status >= 500 then 5 else 0 end as http_class,
       case when is_messaging then destination
            else coalesce(peer_service, peer_address, db_name, db_system) end as peer,
       case when is_messaging then 'messaging'
            when db_system in ('redis', 'memcached', 'valkey', 'keydb', 'hazelcast', 'ehcache', 'aerospike') then 'cache'
            when db_system is not null or db_name is not null then 'database'
            else 'external' end as peer_kind
from told order by profile
