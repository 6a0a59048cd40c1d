//! A topic's id: what tells a topic made anew from the one of the same name that was deleted.
//!
//! librdkafka has known ids since 2.3 (DescribeTopics), its Rust client does not hand them out, so this file calls the
//! C interface. Must hold nothing else: it is the only place with `unsafe`.
#![expect(unsafe_code, reason = "DescribeTopics is not wrapped by the rdkafka crate; each call says why it is sound")]

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::types::RDKafka;
use towpath_engine::ports::log::LogError;

use super::error;

/// What brokers without topic ids (before 2.8) answer: 16 zero bytes.
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// The id of `topic` in base 64, or an empty text where the brokers know none. Waits for at most `timeout`.
///
/// `client` is the pointer of a live librdkafka client, borrowed for the call.
pub(super) fn ask(client: *mut RDKafka, topic: &str, timeout: Duration) -> Result<String, LogError> {
    let name = CString::new(topic).map_err(|_| LogError::Topic(format!("topic {topic:?} has a 0 in its name")))?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut names = [name.as_ptr()];
    // SAFETY: `client` is live for the whole call. `names` outlives the call that copies it. Everything made here is
    // owned by a guard that destroys it exactly once, the event before the queue it came from.
    unsafe {
        let topics = Owned(
            c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            c::rd_kafka_TopicCollection_destroy,
        );
        let options = Owned(
            c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            c::rd_kafka_AdminOptions_destroy,
        );
        c::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, std::ptr::null_mut(), 0);
        let queue = Owned(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy);
        c::rd_kafka_DescribeTopics(client, topics.0, options.0, queue.0);
        let event = Owned(c::rd_kafka_queue_poll(queue.0, timeout_ms), c::rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(LogError::Unavailable(format!("no answer about topic \"{topic}\" within {timeout:?}")));
        }
        read(event.0, topic)
    }
}

/// The id in a DescribeTopics answer.
///
/// # Safety
/// `event` is a live event of a queue that was given to DescribeTopics.
unsafe fn read(event: *mut c::rd_kafka_event_t, topic: &str) -> Result<String, LogError> {
    // SAFETY: all pointers read from the event live as long as it does; each is checked before it is followed.
    unsafe {
        let failed = c::rd_kafka_event_error(event);
        if failed != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error::by_code(
                failed.into(),
                format!("topic \"{topic}\": {}", text(c::rd_kafka_event_error_string(event))),
            ));
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let found = if result.is_null() {
            std::ptr::null_mut()
        } else {
            c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count)
        };
        if found.is_null() || count == 0 {
            return Err(LogError::Topic(format!("Kafka does not answer for topic \"{topic}\"")));
        }
        let description = *found;
        let problem = c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(description));
        if problem != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error::by_code(problem.into(), format!("topic \"{topic}\" cannot be described")));
        }
        let id = c::rd_kafka_TopicDescription_topic_id(description);
        let id = if id.is_null() { String::new() } else { text(c::rd_kafka_Uuid_base64str(id)) };
        Ok(if id == UNKNOWN { String::new() } else { id })
    }
}

/// A C string's copy; empty for none.
///
/// # Safety
/// `pointer` is null or a string that ends with 0.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and ended by 0 as promised.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Something of librdkafka's that we have to destroy.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by the library for us, destroyed only here, by the function that belongs to it.
            unsafe { (self.1)(self.0) }
        }
    }
}
