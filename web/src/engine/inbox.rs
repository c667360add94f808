//! Commands of the page, in order, and the one that overtakes: Stop.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use web_sys::File;

use crate::protocol::{QuestionId, ToEngine};

/// A command with the files that came with it.
pub type Command = (ToEngine, Vec<File>);

#[derive(Default)]
struct Queue {
    commands: VecDeque<Command>,
    waker: Option<Waker>,
}

/// Commands that wait. Clones share one queue.
#[derive(Clone, Default)]
pub struct Inbox(Rc<RefCell<Queue>>);

impl Inbox {
    /// Adds a command at the end.
    pub fn push(&self, command: Command) {
        let mut queue = self.0.borrow_mut();
        queue.commands.push_back(command);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    /// The next command; waits for one.
    pub async fn next(&self) -> Command {
        poll_fn(|context| {
            let mut queue = self.0.borrow_mut();
            match queue.commands.pop_front() {
                Some(command) => Poll::Ready(command),
                None => {
                    queue.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Whether question `id` is to be stopped; takes that command out.
    pub fn take_stop(&self, id: QuestionId) -> bool {
        let mut queue = self.0.borrow_mut();
        let stop = ToEngine::Stop { id };
        match queue.commands.iter().position(|(command, _)| *command == stop) {
            Some(index) => {
                queue.commands.remove(index);
                true
            }
            None => false,
        }
    }
}
