//! What Redis means when it answers with an error.

use std::sync::Arc;

use redis::{ServerError, Value};

use crate::rpc::topics::backplane::error::BackplaneError;

/// An answer, unless it is a refusal.
pub(super) fn of(answer: Value) -> Result<Value, BackplaneError> {
    match answer {
        Value::ServerError(error) => Err(meaning(&error)),
        answer => Ok(answer),
    }
}

/// Why a login was refused, without any part of the password: Redis repeats the words of a command that
/// it does not know.
pub(super) fn of_login(error: BackplaneError, password: &str) -> BackplaneError {
    let words = match error {
        BackplaneError::Refused(words)
        | BackplaneError::Forbidden(words)
        | BackplaneError::LoginRefused(words) => words,
        other => return other,
    };
    let repeats =
        words.contains("unknown command") || !password.is_empty() && words.contains(password);
    BackplaneError::LoginRefused(if repeats {
        "its words are left out, for they repeat the login".into()
    } else {
        words
    })
}

fn meaning(error: &ServerError) -> BackplaneError {
    let code = error.code();
    let words: Arc<str> = match error.details() {
        Some(details) => format!("{code} {details}").into(),
        None => code.into(),
    };
    match code {
        "NOAUTH" | "WRONGPASS" => BackplaneError::LoginRefused(words),
        "NOPERM" => BackplaneError::Forbidden(words),
        "READONLY" => BackplaneError::ReadOnly(words),
        "LOADING" | "MASTERDOWN" | "BUSY" => BackplaneError::NotReady(words),
        "MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" | "TRYAGAIN" => {
            BackplaneError::Clustered(words)
        }
        _ => BackplaneError::Refused(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> BackplaneError {
        let answer = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        of(answer).unwrap_err()
    }

    #[test]
    fn an_error_of_redis_says_what_it_means_and_what_to_do() {
        let all = [
            ("NOAUTH Authentication required.", "the password", true),
            (
                "WRONGPASS invalid username-password pair",
                "the password",
                true,
            ),
            ("NOPERM this user has no permissions", "ACL SETUSER", true),
            ("READONLY You can't write", "the primary", false),
            ("LOADING Redis is loading the dataset", "try again", false),
            ("BUSY Redis is busy running a script", "try again", false),
            ("MASTERDOWN Link with MASTER is down", "try again", false),
            ("MOVED 3999 127.0.0.1:6381", "not part of a cluster", true),
            (
                "CLUSTERDOWN Hash slot not served",
                "not part of a cluster",
                true,
            ),
            ("ERR something", "refused", false),
            ("OOM command not allowed", "refused", false),
            ("WRONGTYPE", "refused", false),
        ];
        for (text, advice, is_fatal) in all {
            let error = refusal(text);
            let told = error.to_string();
            assert!(told.contains(text) && told.contains(advice), "{told}");
            assert_eq!(error.is_fatal(), is_fatal, "{told}");
            assert!(!error.may_have_been_published(), "{told}");
        }
    }

    #[test]
    fn what_is_no_error_is_an_answer() {
        assert_eq!(of(Value::Int(7)).unwrap(), Value::Int(7));
    }

    #[test]
    fn a_refused_login_does_not_repeat_the_password() {
        let echo = "ERR unknown command 'AUTH', with args beginning with: 'me' 'sec' ";
        for text in [echo, "ERR what is secret?", "NOPERM secret"] {
            let error = of_login(refusal(text), "secret");
            assert!(matches!(error, BackplaneError::LoginRefused(_)), "{error}");
            assert!(!format!("{error} {error:?}").contains("sec"), "{error}");
        }
        let error = of_login(refusal("WRONGPASS invalid"), "secret");
        assert!(error.to_string().contains("WRONGPASS invalid"), "{error}");
        let error = of_login(refusal("LOADING"), "secret");
        assert!(matches!(error, BackplaneError::NotReady(_)), "{error}");
    }
}
