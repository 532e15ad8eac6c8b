-- The whole data model: facts, credit, ledger, decisions, and what the shell needs.
-- Amounts are bigint micros (millionths of the major unit). Every key of tenants' data begins with the tenant.

CREATE SCHEMA IF NOT EXISTS avoir;
SET LOCAL search_path = avoir;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['avoir_service', 'avoir_readonly'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        BEGIN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- What the shell keeps of its own: not tenants' data.

CREATE TABLE epochs (
    epoch integer PRIMARY KEY CHECK (epoch >= 1),
    reason text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO epochs (epoch, reason) VALUES (1, 'the beginning');

CREATE TABLE consumer_offsets (
    group_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (group_id, topic, partition)
);

CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    held_until timestamptz NOT NULL
);

-- Messages already handled, and the rows that messages lock.

CREATE TABLE inbox (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    PRIMARY KEY (tenant_id, topic, event_id)
);

CREATE TABLE subjects (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    id text NOT NULL,
    PRIMARY KEY (tenant_id, kind, id)
);

-- Accounts.

CREATE TABLE accounts (
    tenant_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    available bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    head bytea NOT NULL DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000',
    recorded_at timestamptz NOT NULL DEFAULT 'epoch',
    PRIMARY KEY (tenant_id, owner_type, owner_id, currency)
) WITH (fillfactor = 50);

-- Facts. Business keys are unique for ever.

CREATE TABLE invoices (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    number text NOT NULL,
    finalized_at timestamptz NOT NULL,
    total bigint NOT NULL,
    amount_paid bigint NOT NULL CHECK (amount_paid >= 0),
    automatic boolean NOT NULL,
    barred boolean NOT NULL DEFAULT false,
    voided boolean NOT NULL DEFAULT false,
    settled bigint NOT NULL DEFAULT 0 CHECK (settled >= 0),
    applied bigint NOT NULL DEFAULT 0 CHECK (applied >= 0),
    settled_at timestamptz NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES accounts,
    CHECK (voided OR settled + applied <= greatest(total, 0))
) WITH (fillfactor = 80);
CREATE INDEX invoices_open ON invoices (tenant_id, owner_type, owner_id, currency)
    WHERE NOT voided AND total > settled + applied AND total > 0;

CREATE TABLE invoice_lines (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    position integer NOT NULL,
    line_id text NOT NULL,
    kind text NOT NULL,
    subject_id text,
    period_start timestamptz,
    period_end timestamptz,
    amount bigint NOT NULL,
    tax bigint NOT NULL,
    cost bigint NOT NULL,
    credit_line_id text,
    expires_at timestamptz,
    PRIMARY KEY (tenant_id, invoice_id, position),
    UNIQUE (tenant_id, invoice_id, line_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX invoice_lines_of_subject ON invoice_lines (tenant_id, kind, subject_id) WHERE subject_id IS NOT NULL;

CREATE TABLE changes (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    subject_kind text NOT NULL,
    subject_id text NOT NULL,
    revision bigint,
    occurred_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    asked boolean NOT NULL,
    fee bigint NOT NULL DEFAULT 0 CHECK (fee >= 0),
    currency text,
    billed_start timestamptz,
    billed_end timestamptz,
    remaining_start timestamptz,
    remaining_end timestamptz,
    billed_price bigint,
    remaining_price bigint,
    effective_at timestamptz,
    unused text,
    proration text,
    time_zone text,
    unpaid_change text NOT NULL,
    contents bytea NOT NULL,
    PRIMARY KEY (tenant_id, topic, event_id)
);
CREATE INDEX changes_of_subject ON changes (tenant_id, subject_kind, subject_id);

CREATE TABLE payments (
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('payment', 'amount_paid')),
    payment_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    occurred_at timestamptz NOT NULL,
    invoice_ids text[] NOT NULL,
    reversed bigint NOT NULL DEFAULT 0 CHECK (reversed BETWEEN 0 AND amount),
    settled bigint NOT NULL DEFAULT 0 CHECK (settled BETWEEN 0 AND amount - reversed),
    event_id text NOT NULL,
    contents bytea NOT NULL,
    PRIMARY KEY (tenant_id, kind, payment_id),
    FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES accounts
) WITH (fillfactor = 80);

CREATE TABLE reversals (
    tenant_id text NOT NULL,
    reversal_id text NOT NULL,
    payment_id text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    reason text NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    PRIMARY KEY (tenant_id, reversal_id)
);
CREATE INDEX reversals_of_payment ON reversals (tenant_id, payment_id);

CREATE TABLE voids (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    reason text NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id)
);

CREATE TABLE settlements (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    payment_id text NOT NULL,
    n integer NOT NULL CHECK (n >= 1),
    invoice_id text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (tenant_id, kind, payment_id, n),
    FOREIGN KEY (tenant_id, kind, payment_id) REFERENCES payments,
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX settlements_of_invoice ON settlements (tenant_id, invoice_id);

-- Credit: what is due for what (entitlements), what was given for it (grants), what it was used on (applications).

CREATE TABLE entitlements (
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('line', 'payment', 'amount_paid', 'negative_total')),
    id text NOT NULL,
    line_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    cost bigint NOT NULL CHECK (cost >= 0),
    target bigint NOT NULL CHECK (target BETWEEN 0 AND cost),
    given bigint NOT NULL DEFAULT 0,
    covered bigint NOT NULL DEFAULT 0 CHECK (covered >= 0),
    shortfall bigint NOT NULL DEFAULT 0 CHECK (shortfall >= 0),
    shortfall_reason text,
    grants integer NOT NULL DEFAULT 0 CHECK (grants >= 0),
    source text NOT NULL,
    due_from timestamptz NOT NULL,
    settle_by timestamptz,
    PRIMARY KEY (tenant_id, kind, id, line_id),
    FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES accounts,
    CONSTRAINT credit_within_cost CHECK (given BETWEEN 0 AND cost)
) WITH (fillfactor = 80);
CREATE INDEX entitlements_short ON entitlements (tenant_id, owner_type, owner_id, currency) WHERE shortfall > 0;

CREATE TABLE grants (
    tenant_id text NOT NULL,
    grant_id uuid NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    available bigint NOT NULL CHECK (available >= 0),
    reserved bigint NOT NULL CHECK (reserved >= 0),
    spent bigint NOT NULL CHECK (spent >= 0),
    lost bigint NOT NULL CHECK (lost >= 0),
    taken bigint NOT NULL CHECK (taken >= 0),
    source text NOT NULL,
    reason text NOT NULL,
    note text,
    priority integer NOT NULL,
    paid_for boolean NOT NULL,
    effective_at timestamptz NOT NULL,
    expires_at timestamptz,
    reference text,
    entitlement_kind text,
    entitlement_id text,
    entitlement_line_id text,
    ordinal integer NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, grant_id),
    FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES accounts,
    FOREIGN KEY (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id)
        REFERENCES entitlements (tenant_id, kind, id, line_id),
    CONSTRAINT grant_adds_up CHECK (amount = available + reserved + spent + lost + taken)
) WITH (fillfactor = 80);
-- Unique where there is something to be unique, and partial, so that nobody looks a grant up in them by its tenant only.
CREATE UNIQUE INDEX grants_of_entitlement
    ON grants (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id, ordinal)
    WHERE entitlement_kind IS NOT NULL;
CREATE UNIQUE INDEX grants_of_reference ON grants (tenant_id, reference) WHERE reference IS NOT NULL;
CREATE INDEX grants_open ON grants (tenant_id, owner_type, owner_id, currency) WHERE available + reserved > 0;
CREATE INDEX grants_to_expire ON grants (expires_at) WHERE available + reserved > 0;

CREATE TABLE applications (
    tenant_id text NOT NULL,
    application_id uuid NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    invoice_id text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    applied_by text NOT NULL,
    applied_at timestamptz NOT NULL,
    reinstated boolean NOT NULL DEFAULT false,
    grant_ids uuid[] NOT NULL,
    amounts bigint[] NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    PRIMARY KEY (tenant_id, application_id),
    FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES accounts,
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX applications_of_invoice ON applications (tenant_id, invoice_id);

-- The ledger: append-only, numbered, chained, partitioned by month of recording.

CREATE TABLE entries (
    tenant_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    seq bigint NOT NULL,
    n integer NOT NULL,
    ledger_account text NOT NULL CHECK (ledger_account IN ('available', 'reserved')),
    counter_account text NOT NULL,
    grant_id uuid NOT NULL,
    amount bigint NOT NULL CHECK (amount <> 0),
    balance bigint NOT NULL CHECK (balance >= 0),
    event text NOT NULL,
    reason text NOT NULL,
    invoice_id text,
    application_id uuid,
    topic text NOT NULL,
    event_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, owner_type, owner_id, currency, seq, n, recorded_at),
    FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES accounts,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants
) PARTITION BY RANGE (recorded_at);
CREATE INDEX entries_of_grant ON entries (tenant_id, grant_id);

CREATE TABLE decisions (
    tenant_id text NOT NULL,
    decision_id uuid NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    event_id text NOT NULL,
    occurred_at timestamptz,
    recorded_at timestamptz NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    facts jsonb NOT NULL CHECK (octet_length(facts::text) <= 4096),
    policy jsonb NOT NULL,
    would_change_it text,
    subject_kind text NOT NULL,
    subject_id text NOT NULL,
    PRIMARY KEY (tenant_id, decision_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX decisions_of_event ON decisions (tenant_id, event_id);
CREATE INDEX decisions_of_subject ON decisions (tenant_id, subject_kind, subject_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the table is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Makes the partitions of this month and the next `months_ahead`, with their guards; safe to call at any time.
CREATE FUNCTION ensure_partitions(months_ahead integer DEFAULT 2) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = avoir, pg_temp AS $$
DECLARE
    parent text;
    month date;
    child text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('avoir.ensure_partitions', 0));
    FOREACH parent IN ARRAY ARRAY['entries', 'decisions'] LOOP
        FOR ahead IN 0..months_ahead LOOP
            month := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date;
            child := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
            CONTINUE WHEN to_regclass(format('avoir.%I', child)) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
                    month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
                EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION refuse_change()',
                    child);
            EXCEPTION WHEN check_violation THEN
                -- Rows of this month came before its partition: they stay where they are, in the default one.
                RAISE WARNING 'rows of % stay in %_default', child, parent;
                CONTINUE;
            END;
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON entries EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON decisions FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON decisions EXECUTE FUNCTION refuse_change();
CREATE TABLE entries_default PARTITION OF entries DEFAULT;
CREATE TABLE decisions_default PARTITION OF decisions DEFAULT;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON entries_default EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON decisions_default EXECUTE FUNCTION refuse_change();
SELECT ensure_partitions();

-- Messages to publish, and messages that could not be handled.

CREATE TABLE outbox (
    tenant_id text NOT NULL,
    outbox_id bigint GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    key bytea,
    value bytea,
    header_names bytea[] NOT NULL,
    header_values bytea[] NOT NULL,
    recorded_at timestamptz NOT NULL,
    refused text,
    PRIMARY KEY (tenant_id, outbox_id)
);
CREATE INDEX outbox_to_publish ON outbox (outbox_id) WHERE refused IS NULL;

CREATE TABLE dead_letters (
    tenant_id text NOT NULL,
    dead_letter_id uuid NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('rejected', 'conflict', 'parked', 'skipped')),
    reason text NOT NULL,
    event_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    kafka_timestamp timestamptz,
    key bytea,
    value bytea,
    header_names bytea[] NOT NULL,
    header_values bytea[] NOT NULL,
    recorded_at timestamptz NOT NULL,
    replayed_at timestamptz,
    PRIMARY KEY (tenant_id, dead_letter_id)
);
CREATE INDEX dead_letters_by_time ON dead_letters (recorded_at);
CREATE INDEX dead_letters_by_id ON dead_letters (dead_letter_id);

-- Who may do what.

GRANT USAGE ON SCHEMA avoir TO avoir_service, avoir_readonly;
GRANT SELECT ON ALL TABLES IN SCHEMA avoir TO avoir_service, avoir_readonly;
REVOKE ALL ON FUNCTION ensure_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions(integer) TO avoir_service;
GRANT INSERT ON epochs, invoice_lines, changes, reversals, voids, entries, decisions TO avoir_service;
GRANT INSERT, UPDATE ON consumer_offsets, leases, accounts, invoices, payments, settlements,
    entitlements, grants, applications, dead_letters, subjects TO avoir_service;
GRANT INSERT, UPDATE, DELETE ON outbox, inbox TO avoir_service;
