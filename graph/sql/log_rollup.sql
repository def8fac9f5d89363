-- Counts of log templates by step, service, operation, severity and template. `lines`: templates already counted by
-- span; `ranked`: lines of each template of a service, of which the most frequent 500 keep their name.
WITH named AS (
    SELECT
        service,
        template,
        row_number() OVER (PARTITION BY service ORDER BY lines DESC, template) AS place
    FROM ranked
),

told AS (
    SELECT
        lines.time_ns,
        lines.service,
        lines.operation,
        lines.severity,
        CASE WHEN named.place <= 500 THEN lines.template ELSE '_other' END AS template,
        lines.count,
        lines.failing,
        lines.trace_id
    FROM lines
    INNER JOIN named
        ON lines.service IS NOT DISTINCT FROM named.service AND lines.template IS NOT DISTINCT FROM named.template
)

SELECT
    time_ns,
    service,
    operation,
    severity,
    template,
    CAST(sum(count) AS BIGINT) AS count,
    CAST(sum(CASE WHEN failing THEN count ELSE 0 END) AS BIGINT) AS failing,
    CAST(sum(CASE WHEN trace_id IS NOT NULL THEN count ELSE 0 END) AS BIGINT) AS with_trace
FROM told
GROUP BY time_ns, service, operation, severity, template
ORDER BY time_ns, service, operation, severity, template
