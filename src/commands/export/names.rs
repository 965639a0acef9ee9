//! Resolves the names in the inputs to ids, before anything is started.

use std::cell::RefCell;
use std::time::Duration;

use super::run::required;
use crate::config::{FetchRequest, IdentitySelector, RunRequest, RunSelector, SourceSelector};
use crate::context::{Context, RequestLimits};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::RequestError;
use crate::report::history::{MAX_LABEL_LENGTH, ResolvedName, RunHistory};
use crate::text::sanitize;
use crate::webadmit::resolve::{self, NamedEntry};
use crate::webadmit::{ApiClient, Id, RunKind};

/// Maximum length of a name in messages and in the summary, in characters.
const MAX_SHOWN_NAME_LENGTH: usize = 120;

/// Resolves the names in a request.
pub(super) struct NameResolver<'a> {
    pub(super) context: Context<'a>,
    pub(super) api: &'a ApiClient,
    pub(super) request: &'a FetchRequest,
    pub(super) identity: &'a RefCell<Option<ResolvedName>>,
    pub(super) histories: &'a [RefCell<RunHistory>],
}

impl NameResolver<'_> {
    /// Resolves all names, and records the ids in the histories. An id in the inputs needs no request, except in a check, which
    /// verifies it. Returns the identity if it is needed.
    ///
    /// # Errors
    ///
    /// [`StepError::Unresolved`] with all exports and templates that were not found or are ambiguous.
    pub(super) async fn resolve(&self) -> Result<Option<Id>, StepError> {
        let identity = match &self.request.identity {
            // A check also verifies an identity that the runs do not need.
            Some(identity) if self.request.uses_identity() || self.request.is_check() => {
                Some(self.resolve_identity(identity).await?)
            }
            _ => None,
        };

        let mut unresolved = Vec::new();
        for kind in [RunKind::Export, RunKind::PdfBatch] {
            unresolved.extend(self.resolve_sources(kind, identity).await?);
        }
        if unresolved.is_empty() { Ok(identity) } else { Err(StepError::Unresolved(unresolved)) }
    }

    async fn resolve_identity(&self, selector: &IdentitySelector) -> Result<Id, StepError> {
        let resolved = match selector {
            IdentitySelector::Id(id) if !self.request.is_check() => ResolvedName::from_id(*id),
            selector => {
                let all = self.request_list(async |timeout| self.api.identities(timeout).await).await?;
                let found = match selector {
                    IdentitySelector::Id(id) => resolve::by_id(&all, *id),
                    IdentitySelector::Words(words) => resolve::identity(&all, words),
                };
                let found = found.map_err(|error| {
                    StepError::Unresolved(vec![Unresolved { target: LookupTarget::Identity, error }])
                })?;
                self.context.line(&format!("identity: {}, {}", found.id, found.title()));
                // An id selects its cycle itself.
                let is_newest_cycle =
                    matches!(selector, IdentitySelector::Words(_)) && resolve::is_newest_cycle(&all, found);
                let name = sanitize::truncate(&found.title(), MAX_SHOWN_NAME_LENGTH);
                ResolvedName { id: found.id, name: Some(name), is_newest_cycle }
            }
        };

        let id = resolved.id;
        *self.identity.borrow_mut() = Some(resolved);
        Ok(id)
    }

    /// Resolves the names of exports or templates, with one list for all of them. Returns those that cannot be resolved.
    async fn resolve_sources(&self, kind: RunKind, identity: Option<Id>) -> Result<Vec<Unresolved>, StepError> {
        if !self.request.runs.iter().any(|run| self.needs_lookup(run, kind)) {
            return Ok(Vec::new());
        }
        self.context.history.borrow_mut().kind = kind;
        match (kind, identity) {
            (RunKind::Export, _) => {
                let exports = self.request_list(async |timeout| self.api.exports(identity, timeout).await).await?;
                Ok(self.find_sources(kind, &exports))
            }
            (RunKind::PdfBatch, identity) => {
                let identity = required(identity)?;
                let templates = self.request_list(async |timeout| self.api.templates(identity, timeout).await).await?;
                Ok(self.find_sources(kind, &templates))
            }
        }
    }

    /// Whether to look up the export or template in the list: to resolve its name, or for a check, to verify an id that no status
    /// request verifies.
    fn needs_lookup(&self, run: &RunRequest, kind: RunKind) -> bool {
        let is_unverified = self.request.is_check() && !matches!(run.run, RunSelector::Id(_));
        run.kind == kind && (run.name().is_some() || is_unverified)
    }

    fn find_sources<T: NamedEntry>(&self, kind: RunKind, all: &[T]) -> Vec<Unresolved> {
        let mut unresolved = Vec::new();
        for (index, (run, history)) in self.request.runs.iter().zip(self.histories).enumerate() {
            let found = match run.source.as_ref().filter(|_| self.needs_lookup(run, kind)) {
                Some(SourceSelector::Name(name)) => resolve::by_name(all, name),
                Some(SourceSelector::Id(id)) => resolve::by_id(all, *id),
                None => continue,
            };
            match found {
                Ok(found) => self.record_source(kind, found, history),
                Err(error) => unresolved.push(Unresolved { target: LookupTarget::Source(index), error }),
            }
        }
        unresolved
    }

    fn record_source<T: NamedEntry>(&self, kind: RunKind, found: &T, history: &RefCell<RunHistory>) {
        let (id, name) = (found.id(), found.name().to_string());
        self.context.line(&format!("{}: {id}, {name}", kind.source_noun()));
        let mut history = history.borrow_mut();
        history.label = sanitize::truncate(&name, MAX_LABEL_LENGTH);
        let name = Some(sanitize::truncate(&name, MAX_SHOWN_NAME_LENGTH));
        history.source = Some(ResolvedName { id, name, is_newest_cycle: false });
    }

    async fn request_list<T>(
        &self,
        send: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        self.context.request(RequestLimits::default(), send).await
    }
}
