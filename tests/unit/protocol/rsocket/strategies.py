"""Any frame that either side of a sync stream may send."""

from __future__ import annotations

from hypothesis import strategies as st

from syncline.protocol.rsocket.frames import (
    REQUEST_N_MAX,
    STREAM_ID_MAX,
    Cancel,
    Error,
    ErrorCode,
    Frame,
    FrameType,
    Keepalive,
    MetadataPush,
    Payload,
    Request,
    RequestN,
    Setup,
)

stream_ids = st.integers(1, STREAM_ID_MAX)
metadata = st.none() | st.binary(min_size=1, max_size=40)
data = st.binary(max_size=60)
counts = st.integers(1, REQUEST_N_MAX)
mime_types = st.text("abcdefghijklmnopqrstuvwxyz/.-+", min_size=1, max_size=100)

setups = st.builds(
    Setup,
    keepalive_ms=counts,
    lifetime_ms=counts,
    metadata_mime_type=mime_types,
    data_mime_type=mime_types,
    metadata=metadata,
    data=data,
    major=st.integers(0, 2**16 - 1),
    minor=st.integers(0, 2**16 - 1),
    lease=st.booleans(),
    resume_token=st.none() | st.binary(min_size=1, max_size=30),
)
keepalives = st.builds(Keepalive, respond=st.booleans(), data=data, position=st.integers(0, 2**63 - 1))
streams = st.builds(
    Request,
    stream_id=stream_ids,
    kind=st.just(FrameType.REQUEST_STREAM),
    initial_n=counts,
    metadata=metadata,
    data=data,
    follows=st.booleans(),
)
channels = st.builds(
    Request,
    stream_id=stream_ids,
    kind=st.just(FrameType.REQUEST_CHANNEL),
    initial_n=counts,
    metadata=metadata,
    data=data,
    follows=st.booleans(),
    complete=st.booleans(),
)
one_answer = st.builds(
    Request,
    stream_id=stream_ids,
    kind=st.sampled_from([FrameType.REQUEST_RESPONSE, FrameType.REQUEST_FNF]),
    metadata=metadata,
    data=data,
    follows=st.booleans(),
)
payloads = st.builds(
    Payload,
    stream_id=stream_ids,
    metadata=metadata,
    data=st.binary(min_size=1, max_size=60),
    follows=st.booleans(),
    complete=st.booleans(),
    next=st.just(value=True),  # the other implementation sets it wherever there is data
)
errors = st.builds(
    Error,
    stream_id=stream_ids | st.just(0),
    code=st.sampled_from(list(ErrorCode)),
    message=st.text(max_size=40),
)
frames: st.SearchStrategy[Frame] = st.one_of(
    setups,
    keepalives,
    streams,
    channels,
    one_answer,
    payloads,
    errors,
    st.builds(RequestN, stream_id=stream_ids, n=counts),
    st.builds(Cancel, stream_id=stream_ids),
    st.builds(MetadataPush, metadata=st.binary(min_size=1, max_size=40)),
)
