-- The policies in force, and since when.

-- name: read_policies
-- Every message that set policy keys for some scopes, oldest first, with its sender.
SELECT p.tenant_id, p.event_id, p.scope, p.scope_id, p.occurred_at, p.keys, d.recorded_at, d.facts ->> 'by' AS sent_by
FROM unnest(:scopes.tenant_id::text[], :scopes.scope::text[], :scopes.id::text[]) AS asked (tenant_id, scope, scope_id)
JOIN policies p USING (tenant_id, scope, scope_id)
LEFT JOIN LATERAL (
    SELECT recorded_at, facts
    FROM decisions
    WHERE tenant_id = p.tenant_id AND event_id = p.event_id AND topic = 'set-credit-policy' AND outcome = 'recorded'
    ORDER BY recorded_at
    LIMIT 1
) d ON true
ORDER BY p.occurred_at, p.event_id COLLATE "C";
