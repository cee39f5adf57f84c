-- The values and operators of the sync config language, spelled out in Postgres: an oracle's own reading of the reference,
-- sections 2.3, 5 and 6. A value is NULL or one of four kinds. Conditions are never NULL.
CREATE SCHEMA oracle;
CREATE TYPE oracle.value AS (kind text, i numeric, r double precision, t text);

CREATE FUNCTION oracle.whole(x numeric) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN RETURN ROW('integer', x, NULL, NULL)::oracle.value; END $$;
CREATE FUNCTION oracle.floating(x double precision) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN RETURN ROW('real', NULL, x, NULL)::oracle.value; END $$;
CREATE FUNCTION oracle.string(x text) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN RETURN ROW('text', NULL, NULL, x)::oracle.value; END $$;
CREATE FUNCTION oracle.boolean(x boolean) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN RETURN ROW('integer', x::int, NULL, NULL)::oracle.value; END $$;

-- Conversions

-- Reals print as JavaScript prints them; between 1e-6 and 1e21 that is without exponent, and without a fraction where there is none.
CREATE FUNCTION oracle.text_of(v oracle.value) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF v.kind = 'integer' THEN RETURN v.i::text; END IF;
  IF v.kind = 'real' THEN RETURN trim_scale((v.r::text)::numeric)::text; END IF;
  RETURN v.t;
END $$;
CREATE FUNCTION oracle.number_of(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE digits text;
BEGIN
  IF v.kind IS NULL OR v.kind IN ('integer', 'real') THEN RETURN v; END IF;
  digits := substring(v.t FROM '^\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)');
  IF digits IS NULL THEN RETURN oracle.whole(0); END IF;
  IF digits ~ '^[+-]?[0-9]+$' THEN RETURN oracle.whole(digits::numeric); END IF;
  RETURN oracle.floating(digits::double precision);
END $$;
CREATE FUNCTION oracle.integer_of(v oracle.value) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF v.kind = 'integer' THEN RETURN v.i; END IF;
  IF v.kind = 'real' THEN RETURN floor((v.r::text)::numeric); END IF;
  IF v.kind IS NULL THEN RETURN NULL; END IF;
  RETURN COALESCE(substring(v.t FROM '^\s*([+-]?[0-9]+)')::numeric, 0);
END $$;
CREATE FUNCTION oracle.real_of(v oracle.value) RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  v := oracle.number_of(v);
  IF v.kind = 'real' THEN RETURN v.r; END IF;
  RETURN v.i::double precision;
END $$;
CREATE FUNCTION oracle.convert(v oracle.value, to_type text) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF v.kind IS NULL THEN RETURN NULL; END IF;
  CASE to_type
    WHEN 'text' THEN RETURN oracle.string(oracle.text_of(v));
    WHEN 'integer' THEN RETURN oracle.whole(oracle.integer_of(v));
    WHEN 'numeric' THEN RETURN oracle.number_of(v);
    WHEN 'real' THEN RETURN oracle.floating(oracle.real_of(v));
    WHEN 'blob' THEN RETURN ROW('blob', NULL, NULL, oracle.text_of(v))::oracle.value;
  END CASE;
END $$;
CREATE FUNCTION oracle.truthy(v oracle.value) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF v.kind = 'integer' THEN RETURN v.i <> 0; END IF;
  IF v.kind = 'real' THEN RETURN v.r <> 0; END IF;
  IF v.kind = 'text' THEN RETURN v.t ~ '^\s*[+-]?(0*[1-9]|0[xX]0*[1-9a-fA-F])'; END IF;
  RETURN false;
END $$;

-- Comparison: no affinity; number < text < blob; a comparison with NULL is NULL

CREATE FUNCTION oracle.rank(v oracle.value) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN CASE v.kind WHEN 'text' THEN 2 WHEN 'blob' THEN 3 ELSE 1 END; END $$;
CREATE FUNCTION oracle.compare(a oracle.value, b oracle.value) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE x numeric; y numeric;
BEGIN
  IF a.kind IS NULL OR b.kind IS NULL THEN RETURN NULL; END IF;
  IF oracle.rank(a) <> oracle.rank(b) THEN RETURN sign(oracle.rank(a) - oracle.rank(b)); END IF;
  IF oracle.rank(a) > 1 THEN
    RETURN CASE WHEN a.t = b.t THEN 0 WHEN a.t COLLATE "C" < b.t COLLATE "C" THEN -1 ELSE 1 END;
  END IF;
  x := CASE WHEN a.kind = 'integer' THEN a.i ELSE (a.r::text)::numeric END;
  y := CASE WHEN b.kind = 'integer' THEN b.i ELSE (b.r::text)::numeric END;
  RETURN sign(x - y);
END $$;
CREATE FUNCTION oracle.eq(a oracle.value, b oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.boolean(oracle.compare(a, b) = 0); END $$;
CREATE FUNCTION oracle.lt(a oracle.value, b oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.boolean(oracle.compare(a, b) < 0); END $$;
CREATE FUNCTION oracle.le(a oracle.value, b oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.boolean(oracle.compare(a, b) <= 0); END $$;
CREATE FUNCTION oracle.same(a oracle.value, b oracle.value) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN COALESCE(oracle.compare(a, b) = 0, false); END $$;
CREATE FUNCTION oracle.is_number(v oracle.value, n numeric) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.same(v, oracle.whole(n)); END $$;
CREATE FUNCTION oracle.between(v oracle.value, low oracle.value, high oracle.value) RETURNS oracle.value
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF v.kind IS NULL OR low.kind IS NULL OR high.kind IS NULL THEN RETURN NULL; END IF;
  RETURN oracle.boolean(oracle.compare(low, v) <= 0 AND oracle.compare(v, high) <= 0);
END $$;
CREATE FUNCTION oracle.in_list(v oracle.value, VARIADIC items oracle.value[]) RETURNS oracle.value
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE item oracle.value; unknown boolean := false;
BEGIN
  IF v.kind IS NULL THEN RETURN NULL; END IF;
  FOREACH item IN ARRAY items LOOP
    IF item.kind IS NULL THEN unknown := true;
    ELSIF oracle.compare(v, item) = 0 THEN RETURN oracle.whole(1);
    END IF;
  END LOOP;
  RETURN CASE WHEN unknown THEN NULL ELSE oracle.whole(0) END;
END $$;

-- Calculation

CREATE FUNCTION oracle.calculate(operator text, a oracle.value, b oracle.value) RETURNS oracle.value
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE x double precision; y double precision;
BEGIN
  a := oracle.number_of(a); b := oracle.number_of(b);
  IF a.kind IS NULL OR b.kind IS NULL THEN RETURN NULL; END IF;
  IF operator IN ('/', '%') AND oracle.is_number(b, 0) THEN RETURN NULL; END IF;
  IF a.kind = 'integer' AND b.kind = 'integer' THEN
    CASE operator
      WHEN '+' THEN RETURN oracle.whole(a.i + b.i);
      WHEN '-' THEN RETURN oracle.whole(a.i - b.i);
      WHEN '*' THEN RETURN oracle.whole(a.i * b.i);
      WHEN '/' THEN RETURN oracle.whole(div(a.i, b.i));
      WHEN '%' THEN RETURN oracle.whole(mod(a.i, b.i));
      WHEN '&' THEN RETURN oracle.whole(a.i::bigint & b.i::bigint);
      WHEN '|' THEN RETURN oracle.whole(a.i::bigint | b.i::bigint);
      WHEN '<<' THEN RETURN oracle.whole(a.i::bigint << b.i::int);
      WHEN '>>' THEN RETURN oracle.whole(a.i::bigint >> b.i::int);
    END CASE;
  END IF;
  x := oracle.real_of(a); y := oracle.real_of(b);
  CASE operator
    WHEN '+' THEN RETURN oracle.floating(x + y);
    WHEN '-' THEN RETURN oracle.floating(x - y);
    WHEN '*' THEN RETURN oracle.floating(x * y);
    WHEN '/' THEN RETURN oracle.floating(x / y);
  END CASE;
END $$;
CREATE FUNCTION oracle.concatenate(a oracle.value, b oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(oracle.text_of(a) || oracle.text_of(b)); END $$;

-- Functions

CREATE FUNCTION oracle.upper(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(translate(pg_catalog.upper(oracle.text_of(v) COLLATE "C"), 'éü', 'ÉÜ')); END $$;
CREATE FUNCTION oracle.lower(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(translate(pg_catalog.lower(oracle.text_of(v) COLLATE "C"), 'ÉÜ', 'éü')); END $$;
CREATE FUNCTION oracle.length(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF v.kind = 'blob' THEN RETURN oracle.whole(octet_length(convert_to(v.t, 'UTF8'))); END IF;
  RETURN oracle.whole(pg_catalog.length(oracle.text_of(v)));
END $$;
CREATE FUNCTION oracle.hex(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(pg_catalog.upper(encode(convert_to(COALESCE(oracle.text_of(v), ''), 'UTF8'), 'hex'))); END $$;
CREATE FUNCTION oracle.base64(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN oracle.string(replace(encode(convert_to(COALESCE(oracle.text_of(v), ''), 'UTF8'), 'base64'), E'\n', ''));
END $$;
CREATE FUNCTION oracle.instr(a oracle.value, b oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.whole(strpos(oracle.text_of(a), oracle.text_of(b))); END $$;
CREATE FUNCTION oracle.typeof(v oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(COALESCE(v.kind, 'null')); END $$;
CREATE FUNCTION oracle.substring(v oracle.value, start oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.substring(v, start, oracle.whole(1000000)); END $$;
CREATE FUNCTION oracle.substring(v oracle.value, start oracle.value, count oracle.value) RETURNS oracle.value
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  t text := oracle.text_of(v); s int := oracle.integer_of(start); n int := oracle.integer_of(count); first int; last int;
BEGIN
  IF t IS NULL OR s IS NULL OR n IS NULL THEN RETURN NULL; END IF;
  -- `first` is the number of characters before the start.
  IF s > 0 THEN first := s - 1; ELSIF s < 0 THEN first := greatest(pg_catalog.length(t) + s, 0); ELSE first := 0; END IF;
  IF s = 0 AND n > 0 THEN n := n - 1; END IF;
  last := first + n;
  IF n < 0 THEN last := first; first := greatest(first + n, 0); END IF;
  RETURN oracle.string(pg_catalog.substr(t, first + 1, last - first));
END $$;

-- JSON. Numbers of connection data are reals, whatever they look like.

CREATE FUNCTION oracle.real_json(j json) RETURNS json LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE made text;
BEGIN
  CASE json_typeof(j)
    WHEN 'number' THEN RETURN CASE WHEN j::text ~ '[.]' THEN j ELSE (j::text || '.0')::json END;
    WHEN 'array' THEN
      SELECT string_agg(oracle.real_json(e)::text, ',' ORDER BY n) INTO made FROM json_array_elements(j) WITH ORDINALITY AS x(e, n);
      RETURN '[' || COALESCE(made, '') || ']';
    WHEN 'object' THEN
      SELECT string_agg(to_json(k)::text || ':' || oracle.real_json(e)::text, ',' ORDER BY n) INTO made
      FROM json_each(j) WITH ORDINALITY AS x(k, e, n);
      RETURN '{' || COALESCE(made, '') || '}';
    ELSE RETURN j;
  END CASE;
END $$;
CREATE FUNCTION oracle.of_json(j json) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  CASE json_typeof(j)
    WHEN 'null' THEN RETURN NULL;
    WHEN 'string' THEN RETURN oracle.string(j #>> '{}');
    WHEN 'boolean' THEN RETURN oracle.boolean((j::text)::boolean);
    WHEN 'number' THEN
      IF j::text ~ '[.eE]' THEN RETURN oracle.floating((j::text)::double precision); END IF;
      RETURN oracle.whole((j::text)::numeric);
    ELSE RETURN oracle.string(j::text);
  END CASE;
END $$;
-- One step; NULL where it leads nowhere, the JSON value null where it leads to that.
CREATE FUNCTION oracle.step(j json, key text) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF json_typeof(j) = 'object' THEN RETURN j -> key; END IF;
  IF json_typeof(j) = 'array' AND key ~ '^[0-9]+$' THEN RETURN j -> key::int; END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION oracle.follow(j json, path text) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE part text;
BEGIN
  IF path !~ '^\$' THEN RETURN oracle.step(j, path); END IF;
  FOREACH part IN ARRAY (string_to_array(path, '.'))[2:] LOOP j := oracle.step(j, part); END LOOP;
  RETURN j;
END $$;
CREATE FUNCTION oracle.arrow(document oracle.value, path text) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(oracle.follow(document.t::json, path)::text); END $$;
CREATE FUNCTION oracle.double_arrow(document oracle.value, path text) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.of_json(oracle.follow(document.t::json, path)); END $$;
CREATE FUNCTION oracle.json_array_length(document oracle.value, path text DEFAULT '$') RETURNS oracle.value
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE found json;
BEGIN
  IF document.kind IS NULL THEN RETURN NULL; END IF;
  found := oracle.follow(document.t::json, path);
  IF found IS NULL THEN RETURN NULL; END IF;
  IF json_typeof(found) = 'array' THEN RETURN oracle.whole(pg_catalog.json_array_length(found)); END IF;
  RETURN oracle.whole(0);
END $$;
CREATE FUNCTION oracle.json_keys(document oracle.value) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE made text;
BEGIN
  IF document.kind IS NULL THEN RETURN NULL; END IF;
  SELECT string_agg(to_json(k)::text, ',' ORDER BY n) INTO made FROM json_object_keys(document.t::json) WITH ORDINALITY AS x(k, n);
  RETURN oracle.string('[' || COALESCE(made, '') || ']');
END $$;
-- Arrays and objects among the elements are text with all numbers as reals.
CREATE FUNCTION oracle.element(j json) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.of_json(CASE WHEN json_typeof(j) IN ('array', 'object') THEN oracle.real_json(j) ELSE j END); END $$;
CREATE FUNCTION oracle.elements(v oracle.value) RETURNS TABLE (c_key oracle.value, c_value oracle.value)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE j json := v.t::json;
BEGIN
  CASE json_typeof(j)
    WHEN 'array' THEN
      RETURN QUERY SELECT oracle.whole(n - 1), oracle.element(e) FROM json_array_elements(j) WITH ORDINALITY AS x(e, n);
    WHEN 'object' THEN
      RETURN QUERY SELECT oracle.string(k), oracle.element(e) FROM json_each(j) AS x(k, e);
    ELSE
      IF v.kind IS NOT NULL THEN RETURN QUERY SELECT NULL::oracle.value, oracle.of_json(j); END IF;
  END CASE;
END $$;

-- Connection data

CREATE FUNCTION oracle.parameter(data json, key text) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN oracle.of_json(oracle.real_json(CASE WHEN key LIKE '$.%' THEN oracle.follow(data, key) ELSE data -> key END));
END $$;
CREATE FUNCTION oracle.parameters(data json) RETURNS oracle.value LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN oracle.string(oracle.real_json(data)::text); END $$;

-- What a device gets: the kind and the text of a value; nothing of a blob

CREATE FUNCTION oracle.show(v oracle.value) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  CASE v.kind
    WHEN 'integer' THEN RETURN 'integer ' || v.i::text;
    WHEN 'real' THEN RETURN 'real ' || v.r::text;
    WHEN 'text' THEN RETURN 'text ' || v.t;
    WHEN 'blob' THEN RETURN NULL;
    ELSE RETURN 'null';
  END CASE;
END $$;
CREATE FUNCTION oracle.object_id(v oracle.value) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN CASE WHEN v.kind IS NULL OR v.kind = 'blob' THEN '' ELSE oracle.text_of(v) END; END $$;
