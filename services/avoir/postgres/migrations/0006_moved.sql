-- What of a reservation is a line item's that was moved by hand, and becomes one again when it is let go.

SET LOCAL search_path = avoir;

ALTER TABLE reservations ADD COLUMN moved bigint NOT NULL DEFAULT 0 CHECK (moved BETWEEN 0 AND amount);
GRANT UPDATE (moved) ON reservations TO avoir_service;

-- What was moved before, as far as it is still held: the first of it to be used.
UPDATE reservations r
SET moved = greatest(0, moving.amount - (made.amount - r.amount))
FROM (
    SELECT tenant_id, grant_id, topic, event_id, sum(amount) AS amount
    FROM entries
    WHERE event = 'reinstated' AND reason = 'moved' AND ledger_account = 'available'
    GROUP BY tenant_id, grant_id, topic, event_id
) moving,
(
    SELECT tenant_id, application_id, grant_id, sum(amount) AS amount
    FROM entries
    WHERE event = 'reserved' AND ledger_account = 'reserved'
    GROUP BY tenant_id, application_id, grant_id
) made
WHERE r.amount > 0 AND r.reserved_for = 'command'
  AND (moving.tenant_id, moving.grant_id, moving.topic, moving.event_id)
      = (r.tenant_id, r.grant_id, r.topic, r.event_id)
  AND (made.tenant_id, made.application_id, made.grant_id) = (r.tenant_id, r.application_id, r.grant_id);
