/// Makes a protocol's types from its table.
///
/// A table has the protocol's name, a version, and for each state whose turn it is, how long the
/// other side waits for the message (the state's deadline) and how large it may be, then the
/// messages: the tag on the wire, the type, the state that follows. The first state is where a
/// session begins; `End` is where it is over.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sessionwire::protocol;
///
/// #[derive(Serialize, Deserialize)]
/// pub struct Ask(pub String);
/// #[derive(Serialize, Deserialize)]
/// pub struct Answer(pub u64);
/// #[derive(Serialize, Deserialize)]
/// pub struct Bye;
///
/// protocol! {
///     /// Measures texts.
///     pub Measure = "measure" version 1;
///
///     /// The client asks as often as it likes.
///     Idle: Client(secs(60), 4 * KIB) {
///         /// How long is the text?
///         0 Ask => Asked,
///         1 Bye => End,
///     }
///     /// The server owes an answer.
///     Asked: Server(secs(10), 16) {
///         0 Answer => Idle,
///     }
/// }
/// # fn main() {}
/// ```
///
/// That makes, with the visibility given and in the scope where the macro is called:
///
/// - `Measure`, a unit type that is the [`Protocol`](crate::session::Protocol), with the constants
///   `TABLE` and `EDGES` and a function `mermaid()`; its documentation has the diagram;
/// - for each state a type such as `Idle<Side>`, where the side is
///   [`Client`](crate::session::Client) or [`Server`](crate::session::Server): an enum with a variant for
///   each message, `Idle::Ask(message, session)`, the session being in the state that follows.
///
/// What each side does in a state are methods of [`Session`](crate::session::Session)`<Idle<Client>>` and
/// so on, which exist only where they are in order. Doc comments on the protocol, on states and on
/// messages become those of the types and variants.
///
/// A message is a type in scope of that name. If its name and its type differ, say both: `0 Ask: String
/// => Asked`. Any type with serde's `Serialize` and `DeserializeOwned` will do, but the
/// messages of one state must be of different types, or it could not be told which one is sent. In the
/// brackets, `secs`, `millis`, `mins`, `KIB` and `MIB` of [`units`](crate::session::units) are in scope.
///
/// # What is refused
///
/// The compiler refuses, with a sentence: two states or two messages of a state with the same name or tag,
/// a state that the first one does not lead to, a state from which there is no way to `End`, a next state
/// that is not in the table, a deadline of 0, a name that is empty, longer than 238 bytes or has a `#`.
///
/// # What the peer must agree to
///
/// The order, names, turns and tags of all states and messages, and the version, are hashed into the
/// fingerprint that opens each session; docs/wire.md says how. Two ends with different ones do not
/// get to talk. Deadlines and sizes are each end's own. Count the version up whenever the encoding of a
/// message changes: that cannot be seen in the table.
#[macro_export]
macro_rules! protocol {
    (
        $(#[$meta:meta])*
        $visibility:vis $protocol:ident = $name:literal version $version:literal;
        $(
            $(#[$state_meta:meta])*
            $state:ident : $turn:ident ( $deadline:expr, $max_size:expr $(,)? ) {
                $(
                    $(#[$message_meta:meta])*
                    $tag:literal $message:ident $(: $payload:ty)? => $next:ident
                ),+ $(,)?
            }
        )+
    ) => {
        $(#[$meta])*
        ///
        /// A protocol of these states, beginning in the first:
        ///
        #[doc = $crate::__diagram! { $( $state $turn { $($message $next)+ } )+ }]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility struct $protocol;

        #[allow(dead_code, reason = "a program need not use all of them")]
        impl $protocol {
            /// All messages, in the order of the table.
            $visibility const EDGES: &'static [$crate::session::Edge] =
                <Self as $crate::session::Protocol>::TABLE.edges;

            /// The diagram of the states, for [Mermaid](https://mermaid.js.org).
            $visibility const fn mermaid() -> &'static str {
                $crate::session::__within_fences(
                    $crate::__diagram! { $( $state $turn { $($message $next)+ } )+ }
                )
            }
        }

        #[allow(long_running_const_eval, reason = "large tables take their time")]
        const _: () = {
            use $crate::session as __session;

            const TABLE: __session::Table = __session::Table::new(
                $name,
                $version,
                &[$(__session::Row {
                    state: ::core::stringify!($state),
                    turn: <__session::$turn as __session::Side>::TURN,
                    deadline: {
                        #[allow(unused_imports, reason = "a table may use none of them")]
                        use __session::units::*;
                        $deadline
                    },
                    max_size: {
                        #[allow(unused_imports, reason = "a table may use none of them")]
                        use __session::units::*;
                        $max_size
                    },
                }),+],
                &[$($(__session::Edge {
                    from: ::core::stringify!($state),
                    tag: $tag,
                    message: ::core::stringify!($message),
                    to: ::core::stringify!($next),
                }),+),+],
            );

            const _: () = TABLE.validate();

            impl __session::Protocol for $protocol {
                const TABLE: &'static __session::Table = &TABLE;
                type Client = $crate::__first!(Client $($state)+);
                type Server = $crate::__first!(Server $($state)+);
            }
        };

        $($crate::__state! {
            $(#[$state_meta])*
            $visibility $state: $turn ($deadline, $max_size) {
                $( $(#[$message_meta])* $tag $message ($($payload)?) => $next )+
            }
        })+
    };
}

/// One state of a [`protocol!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __state {
    (
        $(#[$meta:meta])*
        $visibility:vis $state:ident : $turn:ident ($deadline:expr, $max_size:expr) {
            $( $(#[$message_meta:meta])* $tag:literal $message:ident ($($payload:ty)?) => $next:ident )+
        }
    ) => {
        $(#[$meta])*
        ///
        #[doc = ::core::concat!("A state in which the ", ::core::stringify!($turn), " has the turn.")]
        $visibility enum $state<Side> {
            $(
                $(#[$message_meta])*
                ///
                #[doc = ::core::concat!("Tag ", ::core::stringify!($tag), ".")]
                $message(
                    $crate::__payload!($message $($payload)?),
                    $crate::session::Session<$crate::__next!($next Side)>,
                ),
            )+
        }

        const _: () = {
            use $crate::session as __session;

            impl<Side: __session::Side> __session::State for $state<Side> {
                const NAME: &'static str = ::core::stringify!($state);
                const DEADLINE: ::core::time::Duration = {
                    #[allow(unused_imports, reason = "a table may use none of them")]
                    use __session::units::*;
                    $deadline
                };
                const MAX_SIZE: usize = {
                    #[allow(unused_imports, reason = "a table may use none of them")]
                    use __session::units::*;
                    $max_size
                };
            }

            impl __session::Speaks for $state<__session::$turn> {}

            impl __session::Listens for $state<<__session::$turn as __session::Side>::Peer> {
                fn decode(
                    message: __session::Encoded<'_>,
                ) -> ::core::result::Result<Self, __session::Undecoded> {
                    match message.tag {
                        $($tag => {
                            let (message, session) = message.decode()?;
                            ::core::result::Result::Ok(Self::$message(message, session))
                        })+
                        #[allow(unreachable_patterns, reason = "all 256 tags may be used")]
                        _ => message.unexpected(),
                    }
                }

                fn vacancy(&mut self) -> &mut __session::Vacancy {
                    match self {
                        $(Self::$message(_, session) => session.vacancy(),)+
                    }
                }
            }

            impl<Side> ::core::fmt::Debug for $state<Side> {
                fn fmt(
                    &self,
                    formatter: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    formatter.write_str(match self {
                        $(Self::$message(..) => ::core::concat!(
                            ::core::stringify!($state), "::", ::core::stringify!($message)
                        ),)+
                    })
                }
            }

            $(
                impl<Side: __session::Side>
                    __session::Carries<$crate::__payload!($message $($payload)?)> for $state<Side>
                {
                    const TAG: u8 = $tag;
                    type Next = $crate::__next!($next Side);
                }
            )+
        };
    };
}

/// The first state's type, for a side.
#[doc(hidden)]
#[macro_export]
macro_rules! __first {
    ($side:ident $first:ident $($rest:ident)*) => { $first<$crate::session::$side> };
}

/// The type of a message.
#[doc(hidden)]
#[macro_export]
macro_rules! __payload {
    ($message:ident) => {
        $message
    };
    ($message:ident $payload:ty) => {
        $payload
    };
}

/// The type of the state that follows.
#[doc(hidden)]
#[macro_export]
macro_rules! __next {
    (End $side:ident) => { $crate::session::End<$side> };
    ($next:ident $side:ident) => { $next<$side> };
}

/// The diagram of a protocol, as a block of Markdown.
#[doc(hidden)]
#[macro_export]
macro_rules! __diagram {
    ($first:ident $first_turn:ident { $($first_message:ident $first_next:ident)+ }
     $($state:ident $turn:ident { $($message:ident $next:ident)+ })*) => {
        ::core::concat!(
            "```mermaid\nstateDiagram-v2\n",
            "    [*] --> ", ::core::stringify!($first), "\n",
            $(
                "    ", ::core::stringify!($first), " --> ", ::core::stringify!($first_next), ": ",
                ::core::stringify!($first_turn), " ", ::core::stringify!($first_message), "\n",
            )+
            $($(
                "    ", ::core::stringify!($state), " --> ", ::core::stringify!($next), ": ",
                ::core::stringify!($turn), " ", ::core::stringify!($message), "\n",
            )+)*
            "    End --> [*]\n```"
        )
    };
}
