// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Operations} from "../src/libraries/Operations.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./support/Fixture.sol";
import {OddToken} from "./support/Strangers.sol";

/// @title Everything that people do to the contract, in any order
/// @dev Deposits and requests come at any time, behind the fixtures' own. Batches follow a file of fixtures, because only those have proofs. What must fail is
/// tried as well, and counted as a fault if it does not.
contract Town is Fixture {
    uint256 private constant ACTORS = 6;
    /// Owns the slot that fees go to.
    address private constant FEES = address(bytes20(hex"A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2"));
    /// Signs for a slot of ALICE's after its key was replaced.
    address private constant CAROL = address(bytes20(hex"A4A4A4A4A4A4A4A4A4A4A4A4A4A4A4A4A4A4A4A4"));

    /// Token 3, which keeps a tenth of every transfer.
    OddToken internal odd;
    mapping(uint16 token => uint256) public cameIn;
    mapping(uint16 token => uint256) public wentOut;
    /// Queue fees that went back to who paid them.
    uint256 public feesBack;
    /// The root that the contract was frozen with, or 0.
    bytes32 public frozenRoot;
    /// Things that went through and must not have.
    uint256 public faults;

    /// The fixtures, read once: parsing the file in every call would take most of the time.
    bytes[] private commits;
    bytes[] private proofs;
    uint256[][] private words;
    /// Of each batch.
    bytes[][] private exits;
    /// By batch, 0 at place 0.
    uint256[] private lastEntries;
    uint256 private last;
    /// All that was ever queued.
    bytes[] private queue;

    modifier whileLive() {
        if (rollup.frozen()) return;
        _;
    }

    function open(string calldata file, uint256 batches, uint256 entries) external {
        vm.deal(address(this), 2 * LISTING_FEE);
        deployWithQueue(file, entries);
        odd = new OddToken();
        odd.keep(10);
        rollup.listToken{value: LISTING_FEE}(address(odd));
        last = batches;
        lastEntries.push(0);
        exits.push();
        for (uint256 number = 1; number <= batches; ++number) {
            commits.push(vm.parseJsonBytes(json(), path(number, "abi.commit")));
            proofs.push(vm.parseJsonBytes(json(), path(number, "abi.proof")));
            words.push(vm.parseJsonUintArray(json(), path(number, "words")));
            lastEntries.push(lastEntries[number - 1] + commitOf(number).taken.length);
            exits.push();
            for (uint256 place; vm.keyExistsJson(json(), path(number, string.concat("exits[", vm.toString(place), "].idx"))); ++place) {
                exits[number].push(abi.encode(super.exitOf(number, place)));
            }
        }
        for (uint256 index = 1; index <= entries; ++index) {
            ILedger.QueueEntry memory entry = entryOf(index);
            cameIn[entry.token] += entry.amount;
            queue.push(abi.encode(entry));
        }
    }

    function exitCount(uint256 number) internal view override returns (uint256) {
        return exits[number].length;
    }

    function lastEntryOf(uint256 number) internal view override returns (uint256) {
        return lastEntries[number];
    }

    /// @dev Withdrawals, then exits.
    function itemsOf(uint256 number) private view returns (uint256 items) {
        ILedger.Commit memory batch = commitOf(number);
        items = batch.withdrawals.length;
        for (uint256 i; i < batch.choices.length; ++i) {
            if (batch.choices[i] & 0xff == Operations.EXIT) ++items;
        }
    }

    function commitOf(uint256 number) internal view override returns (ILedger.Commit memory) {
        return abi.decode(commits[number - 1], (ILedger.Commit));
    }

    function proofOf(uint256 number) internal view override returns (ILedger.BatchProof memory) {
        return abi.decode(proofs[number - 1], (ILedger.BatchProof));
    }

    function wordsOf(uint256 number) internal view override returns (uint256[] memory) {
        return words[number - 1];
    }

    function exitOf(uint256 number, uint256 place) internal view override returns (Exit memory) {
        return abi.decode(exits[number][place], (Exit));
    }

    function queued(uint256 index) private view returns (ILedger.QueueEntry[] memory run) {
        run = new ILedger.QueueEntry[](1);
        run[0] = abi.decode(queue[index - 1], (ILedger.QueueEntry));
    }

    function oldCommitments(uint256 number) internal view override returns (uint256[6] memory empty) {
        return number == 1 ? empty : proofOf(number - 1).record.header.commitments;
    }

    function actor(uint256 seed) private pure returns (address) {
        uint256 pick = seed % ACTORS;
        return pick == 0 ? ALICE : pick == 1 ? BOB : pick == 2 ? FEES : pick == 3 ? CAROL : address(uint160(0xac0 + pick));
    }

    // ---- deposits ----

    function depositNative(uint256 seed, uint96 amount, uint256 key) external whileLive {
        uint256 value = QUEUE_FEE + 1 + amount;
        address sender = actor(seed);
        vm.deal(sender, sender.balance + value);
        vm.prank(sender);
        rollup.deposit{value: value}(1 + key % (R - 1), actor(seed >> 8));
        cameIn[NATIVE] += value - QUEUE_FEE;
        queue.push(abi.encode(ILedger.QueueEntry(1, sender, NATIVE, uint112(value - QUEUE_FEE), 0, actor(seed >> 8), 1 + key % (R - 1))));
    }

    function depositToken(uint256 seed, uint96 amount, uint256 key) external whileLive {
        (uint16 id, address erc20) = seed % 2 == 0 ? (TOKEN, address(token)) : (TOKEN + 1, address(odd));
        address sender = actor(seed >> 8);
        uint256 asked = 1 + uint256(amount);
        TestToken(erc20).mint(sender, asked);
        vm.deal(sender, sender.balance + QUEUE_FEE);
        if (id == TOKEN) {
            vm.prank(sender);
            token.approve(address(rollup), asked);
        }
        vm.prank(sender);
        rollup.depositToken{value: QUEUE_FEE}(id, asked, 1 + key % (R - 1), sender);
        uint256 arrived = id == TOKEN ? asked : asked - asked / 10;
        cameIn[id] += arrived;
        queue.push(abi.encode(ILedger.QueueEntry(1, sender, id, uint112(arrived), 0, sender, 1 + key % (R - 1))));
    }

    /// @dev By owners and strangers; one at a time for each slot.
    function request(uint256 seed, uint256 idx, uint256 key) external whileLive {
        (address sender, uint8 kind) = (actor(seed), seed % 5 < 2 ? Operations.EXIT : Operations.ROTATION);
        (idx, key) = (1 + idx % 4, 1 + key % (R - 1));
        bool may = rollup.openRequest(kind, idx, sender) == 0;
        vm.deal(sender, sender.balance + QUEUE_FEE);
        bytes memory call = kind == Operations.EXIT ? abi.encodeCall(IRollup.requestExit, (idx)) : abi.encodeCall(IRollup.requestRotation, (idx, key));
        vm.prank(sender);
        (bool ok,) = address(rollup).call{value: QUEUE_FEE}(call);
        if (ok != may) ++faults;
        if (!ok) return;
        queue.push(abi.encode(ILedger.QueueEntry(kind, sender, 0, 0, uint24(idx), address(0), kind == Operations.EXIT ? 0 : key)));
    }

    /// @dev Coins that nobody deposited change no account.
    function donate(uint96 amount) external {
        token.mint(address(rollup), amount);
        vm.deal(address(rollup), address(rollup).balance + amount);
    }

    // ---- batches ----

    function commitNext() external whileLive {
        uint256 number = rollup.committed() + 1;
        if (number <= last) commit(commitOf(number));
    }

    function proveNext(uint256 count, uint256 repeated) external whileLive {
        uint256 open_ = rollup.committed() - rollup.proven();
        if (open_ == 0) return;
        // some of the call's batches may be proven already
        uint256 first = rollup.proven() + 1 - repeated % (rollup.proven() + 1);
        proveFixtures(first, rollup.proven() + 1 + count % open_);
    }

    /// @dev Some of the proofs may have come already.
    function commitAndProve(uint256 count, uint256 repeated) external whileLive {
        (uint256 committed, uint256 proven) = (rollup.committed(), rollup.proven());
        if (committed == last || committed == 0) return;
        uint256 first = proven + 1 - repeated % (proven + 1);
        uint256 end = proven + count % (committed - proven + 1);
        (ILedger.Commit memory batch, uint256[6] memory old) = (commitOf(committed + 1), oldCommitments(first));
        ILedger.BatchProof[] memory some = proofsOf(first, end);
        vm.prank(OPERATOR, OPERATOR);
        rollup.commitAndProve(batch, old, some);
        if (rollup.committed() != committed + 1 || rollup.proven() != end) ++faults;
    }

    function settleSome(uint256 number, uint256 item) external {
        if (rollup.proven() == 0) return;
        number = 1 + number % rollup.proven();
        uint256 items = itemsOf(number);
        if (items == 0) return;
        item %= items;
        bool again = rollup.settled(number, item);
        ILedger.Record memory record = proofOf(number).record;
        try rollup.settle(record, choicesOf(number), wordsOf(number), item, 1) {
            if (again) ++faults;
        } catch {
            if (!again) ++faults;
        }
    }

    function revertSome(uint256 to) external whileLive {
        uint256 open_ = rollup.committed() - rollup.proven();
        if (open_ > 0) revertTo(rollup.proven() + to % open_);
    }

    /// @dev What its batch chose to give back, once it is proven.
    function settleRefunds(uint256 index) public {
        index = 1 + index % lastEntries[last];
        uint256 number = 1;
        while (lastEntries[number] < index) ++number;
        bool chosen = Operations.isRefund(choicesOf(number)[index - lastEntries[number - 1] - 1]);
        bool due = chosen && rollup.proven() >= number && !rollup.refunded(index);
        try rollup.settleRefunds(proofOf(number).record, choicesOf(number), wordsOf(number), lastEntries[number], index, queued(index)) {
            if (!due) ++faults;
        } catch {
            if (due) ++faults;
        }
    }

    // ---- the end ----

    function wait(uint256 time) external {
        vm.warp(block.timestamp + time % 3 days);
    }

    function freeze() public {
        uint256 due = rollup.queueDeadline(rollup.queueProven() + 1);
        bool late = due != 0 && block.timestamp > due;
        if (rollup.committed() > rollup.proven() && block.timestamp > rollup.pendingSince() + 7 days) late = true;
        bool may = late && !rollup.frozen();
        try rollup.freeze() {
            if (!may) ++faults;
            frozenRoot = rollup.stateRoot();
        } catch {
            if (may) ++faults;
        }
    }

    /// @dev What comes in or moves the state is dead after a freeze.
    function tryTheDead(uint256 what) external {
        if (frozenRoot == 0) return;
        what %= 6;
        (bytes memory call, uint256 value) = (abi.encodeCall(IRollup.deposit, (1, ALICE)), QUEUE_FEE + 1);
        if (what == 1) (call, value) = (abi.encodeCall(IRollup.listToken, (address(this))), LISTING_FEE);
        if (what == 4) (call, value) = (abi.encodeCall(IRollup.requestExit, (1)), QUEUE_FEE);
        if (what == 5) (call, value) = (abi.encodeCall(IRollup.requestRotation, (1, 9)), QUEUE_FEE);
        if (what == 2 && rollup.committed() < last) (call, value) = (abi.encodeCall(IRollup.commit, (commitOf(rollup.committed() + 1))), 0);
        if (what == 3 && rollup.committed() > rollup.proven()) {
            uint256 next = rollup.proven() + 1;
            (call, value) = (abi.encodeCall(IRollup.prove, (oldCommitments(next), proofsOf(next, next))), 0);
        }
        vm.deal(OPERATOR, value);
        vm.prank(OPERATOR, OPERATOR);
        (bool ok, bytes memory reason) = address(rollup).call{value: value}(call);
        if (ok || bytes4(reason) != ILedger.IsFrozen.selector) ++faults;
    }

    /// @dev Some ask for more than the slot holds.
    function exit(uint256 pick, uint256 lie) public {
        uint256 number = rollup.proven();
        if (number == 0) return;
        Exit memory leaves = exitOf(number, pick % exitCount(number));
        bool may = rollup.frozen() && !rollup.exited(leaves.idx) && lie % 4 != 0;
        if (lie % 4 == 0) ++leaves.dyn;
        try rollup.exit(leaves.idx, leaves.dyn, leaves.owner, proofOf(number).record.header.commitments, leaves.opening) {
            if (!may) ++faults;
        } catch {
            if (may) ++faults;
        }
    }

    function refund(uint256 index) public {
        index = 1 + index % queue.length;
        bool may = rollup.frozen() && index > rollup.queueProven() && !rollup.refunded(index);
        try rollup.refund(index, queued(index)) {
            if (!may) ++faults;
            cameIn[NATIVE] += QUEUE_FEE;
            feesBack += QUEUE_FEE;
        } catch {
            if (may) ++faults;
        }
    }

    /// @dev The operator is gone for a year: everybody freezes, leaves and claims.
    function walkAway() external {
        if (rollup.committed() == rollup.proven() && rollup.queueLength() == rollup.queueProven()) this.depositNative(0, 0, 0);
        vm.warp(block.timestamp + 365 days);
        freeze();
        for (uint256 number = 1; number <= rollup.proven(); ++number) {
            for (uint256 item; item < itemsOf(number); ++item) {
                if (!rollup.settled(number, item)) settleFixture(number, item, 1);
            }
        }
        for (uint256 index; index < queue.length; ++index) {
            if (index < lastEntries[last]) settleRefunds(index);
            refund(index);
        }
        for (uint256 place; place < exitCount(rollup.proven()); ++place) {
            exit(place, 1);
            // a second time, which must fail
            exit(place, 1);
        }
        for (uint256 i; i < 3 * ACTORS; ++i) {
            this.claim(i / 3, i % 3);
        }
    }

    // ---- coins out ----

    function claim(uint256 seed, uint256 pick) external {
        (address account, uint16 id) = (actor(seed), uint16(1 + pick % 3));
        uint256 amount = rollup.claimable(id, account);
        vm.prank(account);
        try rollup.claim(id, account) {
            if (amount == 0) ++faults;
            wentOut[id] += amount;
        } catch {
            if (amount != 0) ++faults;
        }
    }

    function claimFees() external {
        if (rollup.feesEarned() == 0) return;
        vm.prank(OPERATOR);
        rollup.claimFees(address(0xfee));
    }

    // ---- replays ----

    function replayCommit(uint256 number) external {
        ILedger.Commit memory batch = commitOf(1 + number % last);
        if (batch.number == rollup.committed() + 1 && !rollup.frozen()) return;
        vm.prank(OPERATOR, OPERATOR);
        try rollup.commit(batch) {
            ++faults;
        } catch {}
    }

    /// @dev The batch after the next.
    function commitOutOfOrder() external {
        uint256 number = rollup.committed() + 2;
        if (number > last) return;
        ILedger.Commit memory batch = commitOf(number);
        vm.prank(OPERATOR, OPERATOR);
        try rollup.commit(batch) {
            ++faults;
        } catch {}
    }

    /// @dev An honest call but for one value that only the pairing checks.
    function proveTampered(uint256 count, uint256 which, uint256 what) external {
        (uint256 proven, uint256 committed) = (rollup.proven(), rollup.committed());
        if (proven == committed) return;
        ILedger.BatchProof[] memory some = proofsOf(proven + 1, proven + 1 + count % (committed - proven));
        ILedger.BatchProof memory one = some[which % some.length];
        what %= 5;
        if (what == 0) one.e = addmod(one.e, 1, R);
        if (what == 1) one.z = addmod(one.z, 1, R);
        if (what == 2) one.delta = addmod(one.delta, 1, R);
        if (what == 3) one.opening[1] = one.opening[1] == 0 ? 2 : P - one.opening[1];
        if (what == 3 && one.opening[0] == 0) one.opening[0] = 1;
        if (what == 4) one.groth16[7] = P - one.groth16[7];
        try rollup.prove(oldCommitments(proven + 1), some) {
            ++faults;
        } catch (bytes memory reason) {
            if (bytes4(reason) != (rollup.frozen() ? ILedger.IsFrozen.selector : ILedger.ProofInvalid.selector)) ++faults;
        }
    }

    function replayProof(uint256 number) external {
        if (rollup.proven() == 0) return;
        number = 1 + number % rollup.proven();
        try rollup.prove(oldCommitments(number), proofsOf(number, number)) {
            ++faults;
        } catch {}
    }

    // ---- what the invariants look at ----

    function balance(uint16 id) external view returns (uint256) {
        return id == NATIVE ? address(rollup).balance : id == TOKEN ? token.balanceOf(address(rollup)) : odd.balanceOf(address(rollup));
    }

    function claimableSum(uint16 id) external view returns (uint256 sum) {
        for (uint256 i; i < ACTORS; ++i) {
            sum += rollup.claimable(id, actor(i));
        }
    }

    function expectedRoot() external view returns (bytes32) {
        uint256 proven = rollup.proven();
        return proven == 0 ? vm.parseJsonBytes32(json(), path(1, "oldRoot")) : newRoot(proven);
    }

    function queueFeesHeld() external view returns (uint256) {
        return (rollup.queueLength() - rollup.queueProven()) * QUEUE_FEE + rollup.feesEarned() - feesBack;
    }

    function contractUnderTest() external view returns (IRollup) {
        return rollup;
    }
}

/// @title Whatever happens, no coin leaves that did not come in
abstract contract Invariants is Fixture {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Town private town;

    function open(string memory file, uint256 batches, uint256 entries) internal {
        town = new Town();
        town.open(file, batches, entries);
        rollup = town.contractUnderTest();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[24] memory all = [
            Town.depositNative.selector,
            Town.depositToken.selector,
            Town.request.selector,
            Town.commitAndProve.selector,
            Town.commitAndProve.selector,
            Town.donate.selector,
            Town.commitNext.selector,
            // twice as likely, or few runs reach the withdrawals
            Town.commitNext.selector,
            Town.proveNext.selector,
            Town.proveNext.selector,
            Town.settleSome.selector,
            Town.claim.selector,
            Town.claimFees.selector,
            Town.replayCommit.selector,
            Town.commitOutOfOrder.selector,
            Town.proveTampered.selector,
            Town.replayProof.selector,
            Town.revertSome.selector,
            Town.settleRefunds.selector,
            Town.wait.selector,
            Town.freeze.selector,
            Town.tryTheDead.selector,
            Town.exit.selector,
            Town.refund.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(town), new bytes4[](all.length));
        for (uint256 i; i < all.length; ++i) {
            targets[0].selectors[i] = all[i];
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(town);
    }

    function invariant_coins_and_pointers() public view {
        for (uint16 id = 1; id <= 3; ++id) {
            vm.assertEq(rollup.escrow(id), town.cameIn(id) - town.wentOut(id), "escrow is what came in less what went out");
            vm.assertLe(town.claimableSum(id), rollup.escrow(id), "what can be claimed is there");
            vm.assertGe(town.balance(id), rollup.escrow(id) + (id == 1 ? town.queueFeesHeld() : 0), "the contract holds its escrow and the fees");
        }
        vm.assertLe(rollup.proven(), rollup.committed(), "proven before committed");
        vm.assertLe(rollup.queueProven(), rollup.queueCommitted(), "entries proven before committed");
        vm.assertLe(rollup.queueCommitted(), rollup.queueLength(), "entries committed before queued");
        vm.assertEq(rollup.stateRoot(), town.expectedRoot(), "root of the last proven batch");
        vm.assertTrue(rollup.pendingSince() != 0 || rollup.proven() == rollup.committed());
        vm.assertTrue(rollup.frozen() == (town.frozenRoot() != 0));
        if (rollup.frozen()) vm.assertEq(rollup.stateRoot(), town.frozenRoot(), "a frozen state never changes");
        vm.assertEq(town.faults(), 0, "something went through or failed that must not");
    }

    /// @dev The walk-away test, from wherever a run ended: everybody gets everything, and not a wei is left that was a user's.
    function afterInvariant() public {
        town.walkAway();
        for (uint16 id = 1; id <= 3; ++id) {
            vm.assertEq(rollup.escrow(id), 0, "everybody left with everything");
        }
        vm.assertEq(town.faults(), 0, "something went through or failed that must not");
        vm.assertEq(rollup.feesEarned(), town.queueFeesHeld(), "nobody's fee is kept but the operator's");
    }
}

/// @dev Deposits, transfers, withdrawals, a refund, two circuits.
contract BatchesInvariantTest is Invariants {
    function setUp() public {
        open("batches", BATCHES, ENTRIES);
    }
}

/// @dev Registers, exits and rotations as well.
contract RequestsInvariantTest is Invariants {
    function setUp() public {
        open("requests", 5, 12);
    }
}
