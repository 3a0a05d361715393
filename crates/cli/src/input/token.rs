//! The tokens of YAML.

/// A token and its line.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) line: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// An indented list begins; [`TokenKind::BlockEnd`] ends it.
    BlockList,
    /// An indented mapping begins; [`TokenKind::BlockEnd`] ends it.
    BlockMap,
    BlockEnd,
    /// `- `
    BlockItem,
    /// `[`
    FlowList,
    /// `]`
    FlowListEnd,
    /// `{`
    FlowMap,
    /// `}`
    FlowMapEnd,
    /// `,`
    Comma,
    /// A key follows, with `? ` before it or not.
    Key,
    /// `:`
    Value,
    /// `*name`
    Alias(Box<str>),
    /// `&name`
    Anchor(Box<str>),
    /// `!!str`, `!name`
    Tag(Box<str>),
    Scalar {
        text: String,
        /// Whether it is neither quoted nor a block.
        is_plain: bool,
    },
    /// The document ends; what follows is not read.
    DocumentEnd,
}
