//! The parts of the page: properties in, callbacks out.

mod about;
mod adapter_panel;
mod audit_panel;
mod composer;
mod confirm;
mod conversation;
mod correction_form;
mod corrections_panel;
mod error_panel;
mod evidence;
mod exchange;
mod header;
mod intended_use;
mod loading_panel;
mod mark;
mod self_test_panel;
mod settings_panel;
mod starters;

use confirm::Confirm;

pub use about::About;
pub use adapter_panel::AdapterPanel;
pub use audit_panel::AuditPanel;
pub use composer::Composer;
pub use conversation::Conversation;
pub use corrections_panel::CorrectionsPanel;
pub use error_panel::ErrorPanel;
pub use evidence::Evidence;
pub use header::Header;
pub use intended_use::IntendedUse;
pub use loading_panel::LoadingPanel;
pub use self_test_panel::SelfTestPanel;
pub use settings_panel::SettingsPanel;
pub use starters::Starters;
