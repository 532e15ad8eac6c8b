-- What the database refuses by itself: changes to what is written once, credit above a line's cost, uses of unknown grants.

SET LOCAL search_path = avoir;

-- Only what changes may be changed: keys, owners, amounts, costs and what a message said are written once. Of an account all
-- else is its key, which foreign keys keep; and without the right to the whole table nobody may lock it (`avoir epoch raise`).
REVOKE UPDATE ON invoices, payments, settlements, entitlements, grants, reservations, applications, dead_letters
    FROM avoir_service;
GRANT UPDATE (barred, voided, settled, applied, settled_at, restored) ON invoices TO avoir_service;
GRANT UPDATE (reversed, settled) ON payments TO avoir_service;
GRANT UPDATE (amount) ON settlements TO avoir_service;
GRANT UPDATE (target, given, covered, shortfall, shortfall_reason, grants, source, due_from, settle_by, as_line_item,
    expires_after_days) ON entitlements TO avoir_service;
GRANT UPDATE (available, reserved, spent, lost, taken, pending) ON grants TO avoir_service;
GRANT UPDATE (amount) ON reservations TO avoir_service;
GRANT UPDATE (reinstated) ON applications TO avoir_service;
GRANT UPDATE (replayed_at) ON dead_letters TO avoir_service;

-- The three below look at the rows of a whole statement at once, so that their cost is per batch. They look each row up by a
-- subquery of its own, which can only be planned as a search by its whole key; a join may be planned otherwise while tables are empty.

CREATE FUNCTION refuse_cost_above_line() RETURNS trigger LANGUAGE plpgsql SET search_path = avoir AS $$
DECLARE
    refused text;
BEGIN
    SELECT c.id || ' ' || c.line_id INTO refused
    FROM changed c
    WHERE c.kind = 'line' AND c.cost > coalesce((
        SELECT l.cost FROM invoice_lines l
        WHERE l.tenant_id = c.tenant_id AND l.invoice_id = c.id AND l.line_id = c.line_id
    ), -1)
    LIMIT 1;
    IF refused IS NOT NULL THEN
        RAISE check_violation USING MESSAGE = 'more credit may be due for line ' || refused || ' than it cost';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refuse_cost_above_line AFTER INSERT ON entitlements REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_cost_above_line();

-- Of an entitlement the service updates its grants before it adds others: each statement leaves at most what is given in the end.
CREATE FUNCTION refuse_credit_above_cost() RETURNS trigger LANGUAGE plpgsql SET search_path = avoir AS $$
DECLARE
    refused text;
BEGIN
    SELECT c.kind || ' ' || c.id || ' ' || c.line_id INTO refused
    FROM (
        SELECT DISTINCT tenant_id, entitlement_kind AS kind, entitlement_id AS id, entitlement_line_id AS line_id
        FROM changed WHERE entitlement_kind IS NOT NULL
    ) AS c
    WHERE (
        SELECT sum(g.amount - g.taken) FROM grants g
        WHERE g.tenant_id = c.tenant_id AND g.entitlement_kind = c.kind AND g.entitlement_id = c.id
            AND g.entitlement_line_id = c.line_id
    ) > (
        SELECT e.cost FROM entitlements e
        WHERE e.tenant_id = c.tenant_id AND e.kind = c.kind AND e.id = c.id AND e.line_id = c.line_id
    )
    LIMIT 1;
    IF refused IS NOT NULL THEN
        RAISE check_violation USING MESSAGE = 'the grants for ' || refused || ' are more than it cost';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refuse_credit_above_cost AFTER INSERT ON grants REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_credit_above_cost();
CREATE TRIGGER refuse_credit_above_cost_again AFTER UPDATE ON grants REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_credit_above_cost();

-- An array has no foreign key.
CREATE FUNCTION refuse_unknown_grants() RETURNS trigger LANGUAGE plpgsql SET search_path = avoir AS $$
DECLARE
    refused text;
BEGIN
    SELECT c.application_id || ' ' || used.grant_id INTO refused
    FROM changed c CROSS JOIN unnest(c.grant_ids) AS used (grant_id)
    WHERE (
        SELECT g.grant_id FROM grants g WHERE g.tenant_id = c.tenant_id AND g.grant_id = used.grant_id
    ) IS NULL
    LIMIT 1;
    IF refused IS NOT NULL THEN
        RAISE foreign_key_violation USING MESSAGE = 'an application uses a grant that its tenant does not have: ' || refused;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refuse_unknown_grants AFTER INSERT ON applications REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_grants();
