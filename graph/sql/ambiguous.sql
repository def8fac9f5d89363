-- Names of services that several namespaces use.
select service from raw where service_namespace is not null
group by service having count(distinct service_namespace) > 1
