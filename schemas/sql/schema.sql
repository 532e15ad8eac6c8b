-- The schema that the migrations create: python -m avoir.postgres.schema > schemas/sql/schema.sql

CREATE TABLE avoir.accounts (
    tenant_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    available bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    head bytea NOT NULL DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea,
    recorded_at timestamp with time zone NOT NULL DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone,
    refill_asked boolean NOT NULL DEFAULT false,
    epoch integer NOT NULL DEFAULT 1,
    epoch_from bigint NOT NULL DEFAULT 1,
    CONSTRAINT accounts_pkey PRIMARY KEY (tenant_id, owner_type, owner_id, currency),
    CONSTRAINT accounts_available_check CHECK ((available >= 0)),
    CONSTRAINT accounts_epoch_check CHECK ((epoch >= 1)),
    CONSTRAINT accounts_epoch_from_check CHECK ((epoch_from >= 1)),
    CONSTRAINT accounts_reserved_check CHECK ((reserved >= 0)),
    CONSTRAINT accounts_seq_check CHECK ((seq >= 0))
) WITH (fillfactor=50);
GRANT INSERT, SELECT, UPDATE ON avoir.accounts TO avoir_service;
GRANT SELECT ON avoir.accounts TO avoir_readonly;

CREATE TABLE avoir.applications (
    tenant_id text NOT NULL,
    application_id uuid NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    invoice_id text NOT NULL,
    amount bigint NOT NULL,
    applied_by text NOT NULL,
    applied_at timestamp with time zone NOT NULL,
    reinstated boolean NOT NULL DEFAULT false,
    grant_ids uuid[] NOT NULL,
    amounts bigint[] NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    moved bigint NOT NULL DEFAULT 0,
    CONSTRAINT applications_pkey PRIMARY KEY (tenant_id, application_id),
    CONSTRAINT applications_amount_check CHECK ((amount > 0)),
    CONSTRAINT applications_check CHECK (((moved >= 0) AND (moved <= amount))),
    CONSTRAINT applications_tenant_id_invoice_id_fkey FOREIGN KEY (tenant_id, invoice_id) REFERENCES avoir.invoices(tenant_id, invoice_id),
    CONSTRAINT applications_tenant_id_owner_type_owner_id_currency_fkey FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES avoir.accounts(tenant_id, owner_type, owner_id, currency)
);
CREATE INDEX applications_of_invoice ON avoir.applications USING btree (tenant_id, invoice_id);
CREATE TRIGGER refuse_unknown_grants AFTER INSERT ON avoir.applications REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_unknown_grants();
GRANT INSERT, SELECT, UPDATE (reinstated) ON avoir.applications TO avoir_service;
GRANT SELECT ON avoir.applications TO avoir_readonly;

CREATE TABLE avoir.changes (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    subject_kind text NOT NULL,
    subject_id text NOT NULL,
    revision bigint,
    occurred_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    asked boolean NOT NULL,
    fee bigint NOT NULL DEFAULT 0,
    currency text,
    billed_start timestamp with time zone,
    billed_end timestamp with time zone,
    remaining_start timestamp with time zone,
    remaining_end timestamp with time zone,
    billed_price bigint,
    remaining_price bigint,
    effective_at timestamp with time zone,
    unused text,
    proration text,
    time_zone text,
    unpaid_change text NOT NULL,
    contents bytea NOT NULL,
    owner_type text NOT NULL DEFAULT ''::text,
    owner_id text NOT NULL DEFAULT ''::text,
    credit_as text NOT NULL DEFAULT 'balance'::text,
    expires_after_days integer,
    superseded boolean NOT NULL DEFAULT false,
    rules integer NOT NULL DEFAULT 1,
    declined uuid,
    CONSTRAINT changes_pkey PRIMARY KEY (tenant_id, topic, event_id),
    CONSTRAINT changes_credit_as_check CHECK ((credit_as = ANY (ARRAY['balance'::text, 'line_item'::text]))),
    CONSTRAINT changes_expires_after_days_check CHECK ((expires_after_days > 0)),
    CONSTRAINT changes_fee_check CHECK ((fee >= 0))
);
CREATE INDEX changes_of_subject ON avoir.changes USING btree (tenant_id, subject_kind, subject_id, superseded);
GRANT INSERT, SELECT, UPDATE (proration, time_zone, unpaid_change, credit_as, expires_after_days, superseded, declined) ON avoir.changes TO avoir_service;
GRANT SELECT ON avoir.changes TO avoir_readonly;

CREATE TABLE avoir.commands (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    body jsonb NOT NULL,
    CONSTRAINT commands_pkey PRIMARY KEY (tenant_id, topic, event_id)
);
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON avoir.commands FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_change();
CREATE TRIGGER refuse_update BEFORE DELETE OR UPDATE ON avoir.commands FOR EACH ROW EXECUTE FUNCTION avoir.refuse_change();
GRANT INSERT, SELECT ON avoir.commands TO avoir_service;
GRANT SELECT ON avoir.commands TO avoir_readonly;

CREATE TABLE avoir.consumer_offsets (
    group_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    topic_id uuid,
    stopped text,
    moved_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT consumer_offsets_pkey PRIMARY KEY (group_id, topic, partition),
    CONSTRAINT consumer_offsets_next_offset_check CHECK ((next_offset >= 0))
);
GRANT INSERT, SELECT, UPDATE ON avoir.consumer_offsets TO avoir_service;
GRANT SELECT ON avoir.consumer_offsets TO avoir_readonly;

CREATE TABLE avoir.dead_letter_rates (
    topic text NOT NULL,
    minute timestamp with time zone NOT NULL,
    letters bigint NOT NULL,
    bytes bigint NOT NULL,
    CONSTRAINT dead_letter_rates_pkey PRIMARY KEY (topic)
);
GRANT INSERT, SELECT, UPDATE ON avoir.dead_letter_rates TO avoir_service;
GRANT SELECT ON avoir.dead_letter_rates TO avoir_readonly;

CREATE TABLE avoir.dead_letters (
    tenant_id text NOT NULL,
    dead_letter_id uuid NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    event_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    kafka_timestamp timestamp with time zone,
    key bytea,
    value bytea,
    header_names bytea[] NOT NULL,
    header_values bytea[] NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    replayed_at timestamp with time zone,
    first_offset bigint,
    messages bigint NOT NULL DEFAULT 1,
    value_length bigint,
    sha256 bytea,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (tenant_id, dead_letter_id),
    CONSTRAINT dead_letters_messages_check CHECK ((messages > 0)),
    CONSTRAINT dead_letters_outcome_check CHECK ((outcome = ANY (ARRAY['rejected'::text, 'conflict'::text, 'parked'::text, 'skipped'::text, 'summarised'::text]))),
    CONSTRAINT dead_letters_sha256_check CHECK ((octet_length(sha256) = 32))
);
CREATE INDEX dead_letters_by_id ON avoir.dead_letters USING btree (dead_letter_id);
CREATE INDEX dead_letters_by_time ON avoir.dead_letters USING btree (recorded_at);
GRANT INSERT, SELECT, UPDATE (kafka_offset, recorded_at, replayed_at, first_offset, messages, sha256) ON avoir.dead_letters TO avoir_service;
GRANT SELECT ON avoir.dead_letters TO avoir_readonly;

CREATE TABLE avoir.decisions (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    event_id text NOT NULL,
    occurred_at timestamp with time zone,
    recorded_at timestamp with time zone NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    facts json NOT NULL,
    policy json NOT NULL,
    would_change_it text,
    subject_kind text NOT NULL,
    subject_id text NOT NULL,
    position integer NOT NULL DEFAULT 0,
    CONSTRAINT decisions_pkey PRIMARY KEY (tenant_id, event_id, topic, partition, kafka_offset, recorded_at),
    CONSTRAINT decisions_facts_check CHECK ((octet_length((facts)::text) <= 4096))
) PARTITION BY RANGE (recorded_at);
CREATE INDEX decisions_of_subject ON ONLY avoir.decisions USING btree (tenant_id, subject_kind, subject_id);
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON avoir.decisions FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_change();
CREATE TRIGGER refuse_update BEFORE DELETE OR UPDATE ON avoir.decisions FOR EACH ROW EXECUTE FUNCTION avoir.refuse_change();
GRANT INSERT, SELECT ON avoir.decisions TO avoir_service;
GRANT SELECT ON avoir.decisions TO avoir_readonly;

CREATE TABLE avoir.decisions_default PARTITION OF avoir.decisions DEFAULT;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON avoir.decisions_default FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_change();
CREATE TRIGGER refuse_update BEFORE DELETE OR UPDATE ON avoir.decisions_default FOR EACH ROW EXECUTE FUNCTION avoir.refuse_change();
GRANT SELECT ON avoir.decisions_default TO avoir_service;
GRANT SELECT ON avoir.decisions_default TO avoir_readonly;

CREATE TABLE avoir.deferred (
    tenant_id text NOT NULL,
    group_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    n bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    waits_for text NOT NULL,
    concerns text NOT NULL,
    timestamp_ms bigint NOT NULL,
    key bytea,
    value bytea NOT NULL,
    headers bytea NOT NULL,
    deferred_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT deferred_pkey PRIMARY KEY (tenant_id, n)
);
CREATE INDEX deferred_in_order ON avoir.deferred USING btree (group_id, n);
GRANT DELETE, INSERT, SELECT, UPDATE ON avoir.deferred TO avoir_service;
GRANT SELECT ON avoir.deferred TO avoir_readonly;

CREATE TABLE avoir.entitlements (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    id text NOT NULL,
    line_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    cost bigint NOT NULL,
    target bigint NOT NULL,
    given bigint NOT NULL DEFAULT 0,
    covered bigint NOT NULL DEFAULT 0,
    shortfall bigint NOT NULL DEFAULT 0,
    shortfall_reason text,
    grants integer NOT NULL DEFAULT 0,
    source text NOT NULL,
    due_from timestamp with time zone NOT NULL,
    settle_by timestamp with time zone,
    as_line_item boolean NOT NULL DEFAULT false,
    expires_after_days integer,
    time_zone text NOT NULL DEFAULT 'UTC'::text,
    overtakes uuid,
    CONSTRAINT entitlements_pkey PRIMARY KEY (tenant_id, kind, id, line_id),
    CONSTRAINT credit_within_cost CHECK (((given >= 0) AND (given <= cost))),
    CONSTRAINT entitlements_check CHECK (((target >= 0) AND (target <= cost))),
    CONSTRAINT entitlements_cost_check CHECK ((cost >= 0)),
    CONSTRAINT entitlements_covered_check CHECK ((covered >= 0)),
    CONSTRAINT entitlements_expires_after_days_check CHECK ((expires_after_days > 0)),
    CONSTRAINT entitlements_grants_check CHECK ((grants >= 0)),
    CONSTRAINT entitlements_kind_check CHECK ((kind = ANY (ARRAY['line'::text, 'payment'::text, 'amount_paid'::text, 'negative_total'::text, 'credit_line'::text]))),
    CONSTRAINT entitlements_shortfall_check CHECK ((shortfall >= 0)),
    CONSTRAINT entitlements_tenant_id_owner_type_owner_id_currency_fkey FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES avoir.accounts(tenant_id, owner_type, owner_id, currency)
) WITH (fillfactor=80);
CREATE INDEX entitlements_short ON avoir.entitlements USING btree (tenant_id, owner_type, owner_id, currency) WHERE (shortfall > 0);
CREATE TRIGGER refuse_cost_above_line AFTER INSERT ON avoir.entitlements REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_cost_above_line();
GRANT INSERT, SELECT, UPDATE (target, given, covered, shortfall, shortfall_reason, grants, source, due_from, settle_by, as_line_item, expires_after_days, time_zone, overtakes) ON avoir.entitlements TO avoir_service;
GRANT SELECT ON avoir.entitlements TO avoir_readonly;

CREATE TABLE avoir.entries (
    tenant_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    seq bigint NOT NULL,
    n integer NOT NULL,
    ledger_account text NOT NULL,
    counter_account text NOT NULL,
    grant_id uuid NOT NULL,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    event text NOT NULL,
    reason text NOT NULL,
    invoice_id text,
    application_id uuid,
    topic text NOT NULL,
    event_id text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (tenant_id, owner_type, owner_id, currency, seq, n, recorded_at),
    CONSTRAINT entries_amount_check CHECK ((amount <> 0)),
    CONSTRAINT entries_balance_check CHECK ((balance >= 0)),
    CONSTRAINT entries_ledger_account_check CHECK ((ledger_account = ANY (ARRAY['available'::text, 'reserved'::text]))),
    CONSTRAINT entries_tenant_id_grant_id_fkey FOREIGN KEY (tenant_id, grant_id) REFERENCES avoir.grants(tenant_id, grant_id),
    CONSTRAINT entries_tenant_id_owner_type_owner_id_currency_fkey FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES avoir.accounts(tenant_id, owner_type, owner_id, currency)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX entries_of_grant ON ONLY avoir.entries USING btree (tenant_id, grant_id);
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON avoir.entries FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_change();
CREATE TRIGGER refuse_update BEFORE DELETE OR UPDATE ON avoir.entries FOR EACH ROW EXECUTE FUNCTION avoir.refuse_change();
GRANT INSERT, SELECT ON avoir.entries TO avoir_service;
GRANT SELECT ON avoir.entries TO avoir_readonly;

CREATE TABLE avoir.entries_default PARTITION OF avoir.entries DEFAULT;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON avoir.entries_default FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_change();
CREATE TRIGGER refuse_update BEFORE DELETE OR UPDATE ON avoir.entries_default FOR EACH ROW EXECUTE FUNCTION avoir.refuse_change();
GRANT SELECT ON avoir.entries_default TO avoir_service;
GRANT SELECT ON avoir.entries_default TO avoir_readonly;

CREATE TABLE avoir.epochs (
    epoch integer NOT NULL,
    reason text NOT NULL,
    raised_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT epochs_pkey PRIMARY KEY (epoch),
    CONSTRAINT epochs_epoch_check CHECK ((epoch >= 1))
);
GRANT INSERT, SELECT ON avoir.epochs TO avoir_service;
GRANT SELECT ON avoir.epochs TO avoir_readonly;

CREATE TABLE avoir.grants (
    tenant_id text NOT NULL,
    grant_id uuid NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL,
    available bigint NOT NULL,
    reserved bigint NOT NULL,
    spent bigint NOT NULL,
    lost bigint NOT NULL,
    taken bigint NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    note text,
    priority integer NOT NULL,
    paid_for boolean NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    reference text,
    entitlement_kind text,
    entitlement_id text,
    entitlement_line_id text,
    ordinal integer NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    pending bigint NOT NULL DEFAULT 0,
    contents bytea,
    by_type text,
    by_id text,
    CONSTRAINT grants_pkey PRIMARY KEY (tenant_id, grant_id),
    CONSTRAINT grant_adds_up CHECK ((amount = (((((pending + available) + reserved) + spent) + lost) + taken))),
    CONSTRAINT grants_amount_check CHECK ((amount > 0)),
    CONSTRAINT grants_available_check CHECK ((available >= 0)),
    CONSTRAINT grants_lost_check CHECK ((lost >= 0)),
    CONSTRAINT grants_pending_check CHECK ((pending >= 0)),
    CONSTRAINT grants_reserved_check CHECK ((reserved >= 0)),
    CONSTRAINT grants_spent_check CHECK ((spent >= 0)),
    CONSTRAINT grants_taken_check CHECK ((taken >= 0)),
    CONSTRAINT grants_tenant_id_entitlement_kind_entitlement_id_entitleme_fkey FOREIGN KEY (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id) REFERENCES avoir.entitlements(tenant_id, kind, id, line_id),
    CONSTRAINT grants_tenant_id_owner_type_owner_id_currency_fkey FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES avoir.accounts(tenant_id, owner_type, owner_id, currency)
) WITH (fillfactor=80);
CREATE INDEX grants_free ON avoir.grants USING btree (tenant_id, owner_type, owner_id, currency) WHERE ((available > 0) AND (entitlement_kind = ANY (ARRAY['payment'::text, 'amount_paid'::text])));
CREATE INDEX grants_of_account_to_begin ON avoir.grants USING btree (tenant_id, owner_type, owner_id, currency, effective_at) WHERE (pending > 0);
CREATE INDEX grants_of_account_to_expire ON avoir.grants USING btree (tenant_id, owner_type, owner_id, currency, expires_at) WHERE ((expires_at IS NOT NULL) AND ((available + reserved) > 0));
CREATE UNIQUE INDEX grants_of_entitlement ON avoir.grants USING btree (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id, ordinal) WHERE (entitlement_kind IS NOT NULL);
CREATE UNIQUE INDEX grants_of_reference ON avoir.grants USING btree (tenant_id, reference) WHERE (reference IS NOT NULL);
CREATE INDEX grants_open ON avoir.grants USING btree (tenant_id, owner_type, owner_id, currency, ((available > 0)), priority, COALESCE(expires_at, 'infinity'::timestamp with time zone), paid_for, effective_at, grant_id) WHERE (((available + reserved) + pending) > 0);
CREATE INDEX grants_to_begin ON avoir.grants USING btree (effective_at) WHERE (pending > 0);
CREATE INDEX grants_to_expire ON avoir.grants USING btree (expires_at) WHERE ((expires_at IS NOT NULL) AND ((available + reserved) > 0));
CREATE TRIGGER refuse_credit_above_cost AFTER INSERT ON avoir.grants REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_credit_above_cost();
CREATE TRIGGER refuse_credit_above_cost_again AFTER UPDATE ON avoir.grants REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION avoir.refuse_credit_above_cost();
GRANT INSERT, SELECT, UPDATE (available, reserved, spent, lost, taken, pending) ON avoir.grants TO avoir_service;
GRANT SELECT ON avoir.grants TO avoir_readonly;

CREATE TABLE avoir.inbox (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    CONSTRAINT inbox_pkey PRIMARY KEY (tenant_id, topic, event_id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON avoir.inbox TO avoir_service;
GRANT SELECT ON avoir.inbox TO avoir_readonly;

CREATE TABLE avoir.invoice_lines (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    position integer NOT NULL,
    line_id text NOT NULL,
    kind text NOT NULL,
    subject_id text,
    period_start timestamp with time zone,
    period_end timestamp with time zone,
    amount bigint NOT NULL,
    tax bigint NOT NULL,
    cost bigint NOT NULL,
    credit_line_id text,
    expires_at timestamp with time zone,
    cost_tax bigint,
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (tenant_id, invoice_id, line_id),
    CONSTRAINT invoice_lines_check CHECK (((cost_tax >= 0) AND (cost_tax <= cost))),
    CONSTRAINT invoice_lines_tenant_id_invoice_id_fkey FOREIGN KEY (tenant_id, invoice_id) REFERENCES avoir.invoices(tenant_id, invoice_id)
);
CREATE INDEX invoice_lines_of_subject ON avoir.invoice_lines USING btree (tenant_id, kind, subject_id) WHERE (subject_id IS NOT NULL);
GRANT INSERT, SELECT ON avoir.invoice_lines TO avoir_service;
GRANT SELECT ON avoir.invoice_lines TO avoir_readonly;

CREATE TABLE avoir.invoices (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    number text NOT NULL,
    finalized_at timestamp with time zone NOT NULL,
    total bigint NOT NULL,
    amount_paid bigint NOT NULL,
    automatic boolean NOT NULL,
    barred boolean NOT NULL DEFAULT false,
    voided boolean NOT NULL DEFAULT false,
    settled bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT 0,
    settled_at timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    restored bigint NOT NULL DEFAULT 0,
    CONSTRAINT invoices_pkey PRIMARY KEY (tenant_id, invoice_id),
    CONSTRAINT invoices_amount_paid_check CHECK ((amount_paid >= 0)),
    CONSTRAINT invoices_applied_check CHECK ((applied >= 0)),
    CONSTRAINT invoices_check CHECK ((voided OR ((settled + applied) <= GREATEST((total + restored), (0)::bigint)))),
    CONSTRAINT invoices_restored_check CHECK ((restored >= 0)),
    CONSTRAINT invoices_settled_check CHECK ((settled >= 0)),
    CONSTRAINT invoices_tenant_id_owner_type_owner_id_currency_fkey FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES avoir.accounts(tenant_id, owner_type, owner_id, currency)
) WITH (fillfactor=80);
CREATE INDEX invoices_open ON avoir.invoices USING btree (tenant_id, owner_type, owner_id, currency, (((automatic AND (NOT barred)))::integer), finalized_at, invoice_id COLLATE "C") WHERE ((NOT voided) AND ((total + restored) > (settled + applied)) AND ((total + restored) > 0));
GRANT INSERT, SELECT, UPDATE (barred, voided, settled, applied, settled_at, restored) ON avoir.invoices TO avoir_service;
GRANT SELECT ON avoir.invoices TO avoir_readonly;

CREATE TABLE avoir.leases (
    name text NOT NULL,
    holder text NOT NULL,
    held_until timestamp with time zone NOT NULL,
    held_for interval NOT NULL DEFAULT '00:01:00'::interval,
    CONSTRAINT leases_pkey PRIMARY KEY (name),
    CONSTRAINT leases_held_for_check CHECK ((held_for > '00:00:00'::interval))
);
GRANT INSERT, SELECT, UPDATE ON avoir.leases TO avoir_service;
GRANT SELECT ON avoir.leases TO avoir_readonly;

CREATE TABLE avoir.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    sha256 text NOT NULL,
    CONSTRAINT migrations_pkey PRIMARY KEY (version)
);
GRANT SELECT ON avoir.migrations TO avoir_service;
GRANT SELECT ON avoir.migrations TO avoir_readonly;

CREATE TABLE avoir.outbox (
    tenant_id text NOT NULL,
    outbox_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    key bytea,
    value bytea,
    recorded_at timestamp with time zone NOT NULL,
    refused text,
    headers bytea NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (tenant_id, outbox_id)
);
CREATE INDEX outbox_to_publish ON avoir.outbox USING btree (outbox_id) WHERE (refused IS NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON avoir.outbox TO avoir_service;
GRANT SELECT ON avoir.outbox TO avoir_readonly;

CREATE TABLE avoir.payments (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    payment_id text NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    invoice_ids text[] NOT NULL,
    reversed bigint NOT NULL DEFAULT 0,
    settled bigint NOT NULL DEFAULT 0,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, kind, payment_id),
    CONSTRAINT payments_amount_check CHECK ((amount > 0)),
    CONSTRAINT payments_check CHECK (((reversed >= 0) AND (reversed <= amount))),
    CONSTRAINT payments_check1 CHECK (((settled >= 0) AND (settled <= (amount - reversed)))),
    CONSTRAINT payments_kind_check CHECK ((kind = ANY (ARRAY['payment'::text, 'amount_paid'::text]))),
    CONSTRAINT payments_tenant_id_owner_type_owner_id_currency_fkey FOREIGN KEY (tenant_id, owner_type, owner_id, currency) REFERENCES avoir.accounts(tenant_id, owner_type, owner_id, currency)
) WITH (fillfactor=80);
GRANT INSERT, SELECT, UPDATE (reversed, settled) ON avoir.payments TO avoir_service;
GRANT SELECT ON avoir.payments TO avoir_readonly;

CREATE TABLE avoir.policies (
    tenant_id text NOT NULL,
    event_id text NOT NULL,
    scope text NOT NULL,
    scope_id text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    keys jsonb NOT NULL,
    CONSTRAINT policies_pkey PRIMARY KEY (tenant_id, event_id),
    CONSTRAINT policies_scope_check CHECK ((scope = ANY (ARRAY['tenant'::text, 'owner'::text, 'invoice'::text])))
);
CREATE INDEX policies_of_scope ON avoir.policies USING btree (tenant_id, scope, scope_id);
GRANT INSERT, SELECT ON avoir.policies TO avoir_service;
GRANT SELECT ON avoir.policies TO avoir_readonly;

CREATE TABLE avoir.reservations (
    tenant_id text NOT NULL,
    application_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    invoice_id text,
    reserved_for text NOT NULL,
    seq bigint NOT NULL,
    amount bigint NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    moved bigint NOT NULL DEFAULT 0,
    CONSTRAINT reservations_pkey PRIMARY KEY (tenant_id, application_id, grant_id),
    CONSTRAINT reservations_amount_check CHECK ((amount >= 0)),
    CONSTRAINT reservations_check CHECK (((moved >= 0) AND (moved <= amount))),
    CONSTRAINT reservations_reserved_for_check CHECK ((reserved_for = ANY (ARRAY['line_item'::text, 'command'::text]))),
    CONSTRAINT reservations_seq_check CHECK ((seq >= 1)),
    CONSTRAINT reservations_tenant_id_grant_id_fkey FOREIGN KEY (tenant_id, grant_id) REFERENCES avoir.grants(tenant_id, grant_id)
) WITH (fillfactor=80);
CREATE INDEX reservations_held ON avoir.reservations USING btree (tenant_id, grant_id) WHERE ((amount > 0) OR (reserved_for = 'line_item'::text));
CREATE INDEX reservations_of_grant ON avoir.reservations USING btree (tenant_id, grant_id);
CREATE INDEX reservations_of_invoice ON avoir.reservations USING btree (tenant_id, invoice_id) WHERE (amount > 0);
GRANT INSERT, SELECT, UPDATE (amount, moved) ON avoir.reservations TO avoir_service;
GRANT SELECT ON avoir.reservations TO avoir_readonly;

CREATE TABLE avoir.reversals (
    tenant_id text NOT NULL,
    reversal_id text NOT NULL,
    payment_id text NOT NULL,
    amount bigint NOT NULL,
    currency text NOT NULL,
    reason text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    CONSTRAINT reversals_pkey PRIMARY KEY (tenant_id, reversal_id),
    CONSTRAINT reversals_amount_check CHECK ((amount > 0))
);
CREATE INDEX reversals_of_payment ON avoir.reversals USING btree (tenant_id, payment_id);
GRANT INSERT, SELECT ON avoir.reversals TO avoir_service;
GRANT SELECT ON avoir.reversals TO avoir_readonly;

CREATE TABLE avoir.settlements (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    payment_id text NOT NULL,
    n integer NOT NULL,
    invoice_id text NOT NULL,
    amount bigint NOT NULL,
    CONSTRAINT settlements_pkey PRIMARY KEY (tenant_id, kind, payment_id, n),
    CONSTRAINT settlements_amount_check CHECK ((amount >= 0)),
    CONSTRAINT settlements_n_check CHECK ((n >= 1)),
    CONSTRAINT settlements_tenant_id_invoice_id_fkey FOREIGN KEY (tenant_id, invoice_id) REFERENCES avoir.invoices(tenant_id, invoice_id),
    CONSTRAINT settlements_tenant_id_kind_payment_id_fkey FOREIGN KEY (tenant_id, kind, payment_id) REFERENCES avoir.payments(tenant_id, kind, payment_id)
);
CREATE INDEX settlements_of_invoice ON avoir.settlements USING btree (tenant_id, invoice_id);
GRANT INSERT, SELECT, UPDATE (amount) ON avoir.settlements TO avoir_service;
GRANT SELECT ON avoir.settlements TO avoir_readonly;

CREATE TABLE avoir.subjects (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    id text NOT NULL,
    CONSTRAINT subjects_pkey PRIMARY KEY (tenant_id, kind, id)
);
GRANT INSERT, SELECT, UPDATE ON avoir.subjects TO avoir_service;
GRANT SELECT ON avoir.subjects TO avoir_readonly;

CREATE TABLE avoir.topics_out (
    topic text NOT NULL,
    partitions integer NOT NULL,
    CONSTRAINT topics_out_pkey PRIMARY KEY (topic),
    CONSTRAINT topics_out_partitions_check CHECK ((partitions >= 1))
);
GRANT INSERT, SELECT ON avoir.topics_out TO avoir_service;
GRANT SELECT ON avoir.topics_out TO avoir_readonly;

CREATE TABLE avoir.voids (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    reason text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    contents bytea NOT NULL,
    CONSTRAINT voids_pkey PRIMARY KEY (tenant_id, invoice_id)
);
GRANT INSERT, SELECT ON avoir.voids TO avoir_service;
GRANT SELECT ON avoir.voids TO avoir_readonly;

-- May be called by: avoir_service
CREATE OR REPLACE FUNCTION avoir.ensure_partitions(months_ahead integer DEFAULT 2)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'avoir', 'pg_temp'
AS $function$
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
$function$;

-- May be called by: public
CREATE OR REPLACE FUNCTION avoir.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION '% of % is refused: the table is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$function$;

-- May be called by: public
CREATE OR REPLACE FUNCTION avoir.refuse_cost_above_line()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'avoir'
AS $function$
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
$function$;

-- May be called by: public
CREATE OR REPLACE FUNCTION avoir.refuse_credit_above_cost()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'avoir'
AS $function$
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
$function$;

-- May be called by: public
CREATE OR REPLACE FUNCTION avoir.refuse_unknown_grants()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'avoir'
AS $function$
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
$function$;
